"""One parameter update as a pure function: SGD, Adam and AdamW, equal to :mod:`torch.optim`."""

import math

import torch
from torch import Tensor

from ..contract.recipe import Recipe
from .adjoints import Tensors

SLOTS = {"sgd": 1, "adam": 2, "adamw": 2}
"""Tensors that an optimiser remembers for each parameter; SGD without momentum none."""


def slots(recipe: Recipe) -> int:
    """Return how many tensors the optimiser remembers for each parameter."""
    return SLOTS[recipe.optimizer] if recipe.optimizer != "sgd" or recipe.momentum else 0


def update(
    recipe: Recipe, theta: Tensors, memory: Tensors, grads: Tensors, step: int, scale: Tensor | None = None
) -> tuple[Tensors, Tensors]:
    """Return the parameters and the optimiser's memory after one step.

    Args:
        recipe: The optimiser and its constants.
        theta: Parameters.
        memory: ``slots(recipe)`` times as many tensors: momentum buffers, or first and then second moments.
        grads: Gradients in the order of ``theta``.
        step: Steps taken before this one.
        scale: A scalar that multiplies the learning rate, for its derivative; 1 by default.
    """
    rate: float | Tensor = recipe.rate(step) if scale is None else recipe.rate(step) * scale
    if recipe.weight_decay and recipe.optimizer != "adamw":
        grads = tuple(torch.add(g, p, alpha=recipe.weight_decay) for g, p in zip(grads, theta, strict=True))
    if recipe.optimizer == "sgd":
        return _sgd(recipe, theta, memory, grads, step, rate)
    if recipe.weight_decay and recipe.optimizer == "adamw":
        theta = tuple(p * (1 - rate * recipe.weight_decay) for p in theta)
    return _adam(recipe, theta, memory, grads, step, rate)


def _sgd(
    recipe: Recipe, theta: Tensors, memory: Tensors, grads: Tensors, step: int, rate: float | Tensor
) -> tuple[Tensors, Tensors]:
    if recipe.momentum:
        gain = 1 - recipe.dampening if step else 1.0
        memory = tuple(torch.add(recipe.momentum * m, g, alpha=gain) for m, g in zip(memory, grads, strict=True))
        if recipe.nesterov:
            grads = tuple(torch.add(g, m, alpha=recipe.momentum) for g, m in zip(grads, memory, strict=True))
        else:
            grads = memory
    return tuple(_descend(p, g, rate) for p, g in zip(theta, grads, strict=True)), memory


def _adam(
    recipe: Recipe, theta: Tensors, memory: Tensors, grads: Tensors, step: int, rate: float | Tensor
) -> tuple[Tensors, Tensors]:
    first, second = memory[: len(theta)], memory[len(theta) :]
    first = tuple(torch.lerp(m, g, 1 - recipe.beta1) for m, g in zip(first, grads, strict=True))
    second = tuple(
        torch.addcmul(recipe.beta2 * v, g, g, value=1 - recipe.beta2) for v, g in zip(second, grads, strict=True)
    )
    rate = rate / (1 - recipe.beta1 ** (step + 1))
    correction = math.sqrt(1 - recipe.beta2 ** (step + 1))
    moved = []
    for p, m, v in zip(theta, first, second, strict=True):
        moved.append(_descend(p, m / (_root(v) / correction + recipe.eps), rate))
    return tuple(moved), first + second


def _descend(value: Tensor, direction: Tensor, rate: float | Tensor) -> Tensor:
    return value - rate * direction if isinstance(rate, Tensor) else torch.add(value, direction, alpha=-rate)


def _root(value: Tensor) -> Tensor:
    """Return the square root with derivative zero, not infinity, at zero: a weight that no gradient ever reached."""
    positive = value > 0
    return torch.where(positive, torch.where(positive, value, 1.0).sqrt(), 0.0)
