"""A network whose first data-fed linear layer takes coordinates in a subspace instead of whole inputs.

If every training input is ``x = c R`` with orthonormal rows R (r, d), the layer's weight only ever moves within those
rows, apart from weight decay. So the network with the weight ``W Rᵀ`` (width, r) and inputs c has the same logits,
gradients and training, with r instead of d inputs (docs/decisions/0007-span.md; the row space is that of Dimitrov et
al., 2024, theorem 3.1).
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..contract.attack import generator
from ..contract.victim import Entry, Victim
from ..simulation.losses import training_loss
from .subspace import Layer


def projected(victim: Victim, layer: Layer, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the layer's weight (width, r), float64, before and after training, for inputs in ``rows`` (r, d)."""
    name = layer.name("weight")
    before, after = (side[name].double() @ rows.T.double() for side in (victim.theta0, victim.thetaf))
    return before, after


def highest(victim: Victim, layer: Layer, coordinates: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Return (n, width), float64, each unit's higher pre-activation of those before and after training.

    Args:
        victim: Whose layer's biases are added.
        layer: The first layer.
        coordinates: (n, r) inputs, float64.
        before: (width, r) the weight that :func:`projected` gave.
        after: As ``before``.
    """
    name = layer.name("bias")
    signals = []
    for weight, side in ((before, victim.theta0), (after, victim.thetaf)):
        bias = side.get(name, victim.buffers.get(name)) if layer.bias else None
        signal = coordinates @ weight.T
        signals.append(signal if bias is None else signal + bias.double())
    return torch.maximum(*signals)


def reduced(victim: Victim, layer: Layer, before: Tensor, after: Tensor) -> Victim:
    """Return the victim behind its first layer, whose inputs are (n, r) coordinates.

    Args:
        victim: The whole network.
        layer: The layer that takes coordinates.
        before: (width, r) its weight before training, as :func:`projected` gave it.
        after: As ``before``, after training.
    """
    name, blank = layer.name("weight"), victim.like.new_zeros(1, *victim.shape)
    before, after = before.to(victim.like), after.to(victim.like)
    return replace(
        victim,
        theta0={**victim.theta0, name: before},
        thetaf={**victim.thetaf, name: after},
        shape=before.shape[1:],
        entry=Entry(layer.path, blank if victim.entry is None else victim.entry.front, behind=False),
    )


def likely_labels(network: Victim, coordinates: Tensor, signals: Tensor, before: Tensor) -> Tensor:
    """Return (k,) labels of known inputs, on the CPU: the class whose gradient each one's signals look like.

    The signals of an input are the sum of -lr times its loss gradients at the layer's units over training. Through the
    layer's weight they compare with the gradient of the loss by the input, for each class.

    Args:
        network: The victim behind its first layer.
        coordinates: (k, r) the inputs.
        signals: (k, width) their signals, up to a positive factor each.
        before: (width, r) the layer's weight before training.
    """
    inputs = coordinates.to(network.like).requires_grad_()
    wanted = (signals @ before).to(inputs)
    alike = []
    for label in range(network.categories):
        labels = torch.full((len(inputs),), label, device=inputs.device)
        gradient = torch.autograd.grad(training_loss(network.logits(network.theta0, inputs), labels), inputs)[0]
        alike.append(-torch.cosine_similarity(wanted, gradient, dim=1))
    return torch.stack(alike).argmax(0).cpu()


def rectified(victim: Victim, layer: Layer) -> bool:
    """Return whether ReLUs follow the layer: no gradient reaches a unit whose pre-activation is negative."""
    seen: list[Tensor] = []
    module = victim.module.get_submodule(layer.path)
    hook = module.register_forward_hook(lambda *parts: seen.append(parts[2]))
    x = torch.randn(8, *victim.shape, generator=generator(0)).to(victim.like)
    leaves = {name: value.detach().requires_grad_() for name, value in victim.theta0.items()}
    try:
        logits = victim.logits(leaves, x)
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(logits.square().sum(), seen[:1])
    return bool((gradient[seen[0] < 0] == 0).all())
