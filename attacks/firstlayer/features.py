"""Inputs from the features that a frozen part of the network gives them."""

import torch
from torch import Tensor

from ..contract.victim import Victim
from ..optimise.optim import Adam, warmup_cosine
from .subspace import Layer

STEP_SIZE = 0.1
"""Adam step on the variables."""

FITTED = (
    "it found what a frozen part of the network computes from the training records; these records were fitted to that, "
    "so the loss is no evidence for them"
)
"""Why the loss of an attack on features is no evidence for its records."""

SMOOTHNESS = 1e-2
"""Weight of the total variation against the relative squared error of the features; it falls to a tenth."""


def features_of(victim: Victim, layer: Layer, x: Tensor) -> Tensor:
    """Return the inputs (n, d) that ``layer`` sees for inputs ``x`` (n, ...), before training."""
    seen: list[Tensor] = []
    module = victim.module.get_submodule(layer.path)
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        victim.logits(victim.theta0, x)
    finally:
        hook.remove()
    return seen[0]


def invert(victim: Victim, layer: Layer, features: Tensor, generator: torch.Generator, iterations: int) -> Tensor:
    """Return inputs (n, ...) whose features are nearest to ``features`` (n, d).

    Gradient descent on the relative squared error, with a prior on smoothness and on the range of pixels (Mahendran
    and Vedaldi, 2015).
    """
    noise = 0.1 * torch.randn(len(features), *victim.shape, generator=generator)
    variables, rule = victim.medium.variables(noise.to(victim.like), "auto"), Adam(STEP_SIZE)
    memory = rule.start(variables)
    for step in range(iterations):
        leaves = {name: value.detach().requires_grad_() for name, value in variables.items()}
        x = victim.medium.inputs(leaves)
        error = (features_of(victim, layer, x) - features).square().sum() / features.square().sum()
        smoothness = SMOOTHNESS * (1 - 0.9 * step / iterations) * victim.medium.roughness(x)
        grads = torch.autograd.grad(error + smoothness + victim.medium.excess(x), list(leaves.values()))
        named = dict(zip(leaves, grads, strict=True))
        with torch.no_grad():
            factor = warmup_cosine(step, iterations, 5)
            variables, moments = rule.update(variables, named, memory, step, factor)
            memory = {**memory, **moments}
    return victim.medium.inputs(variables)
