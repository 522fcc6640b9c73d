"""A network whose first data-fed linear layer takes coordinates in a subspace instead of images.

If every training input is ``x = c R`` with orthonormal rows R (r, d), the layer's weight only ever moves within those
rows, apart from weight decay. So the network with the weight ``W Rᵀ`` (width, r) and inputs c has the same logits,
gradients and training, with r instead of d inputs (design notes, section 11b).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .base import Victim
from .params import Params
from .subspace import Layer


@dataclass(frozen=True)
class Reduced(Victim):
    """The victim behind its first layer; what it takes for images are (n, r) coordinates.

    Attributes:
        layer: The layer that takes them; its weight in ``theta0`` and ``thetaf`` is ``W Rᵀ``.
    """

    layer: Layer = field(kw_only=True)

    def logits(self, params: Params, x: Tensor) -> Tensor:
        """Return logits (b, k) of coordinates ``x`` (b, r)."""
        # One blank image runs through whatever lies before the layer; the batch enters there.
        entry = self.module.get_submodule(self.layer.path).register_forward_pre_hook(lambda *_: (x,))
        try:
            return super().logits(params, x.new_zeros(1, *self.shape))
        finally:
            entry.remove()


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


def reduced(victim: Victim, layer: Layer, before: Tensor, after: Tensor) -> Reduced:
    """Return the victim whose layer has the weights that :func:`projected` gave."""
    name = layer.name("weight")
    before, after = before.to(victim.like), after.to(victim.like)
    return Reduced(
        victim.module, {**victim.theta0, name: before}, {**victim.thetaf, name: after}, victim.buffers, victim.shape,
        victim.classes, victim.normalisation, victim.running, victim.masked, layer=layer,
    )  # fmt: skip
