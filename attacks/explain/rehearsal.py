"""What right records would leave of a change: the training rehearsed on made-up ones.

A search may explain more of a change than the records that made it. How much those leave is not known, but made-up
records, trained on for as far as the real training went, leave about as much.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..contract.attack import generator
from ..contract.params import norm
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from ..layers.rounding import stored
from .inversion import predict
from .labels import guess

STEPS = 5
"""Steps of a rehearsal, all of the same length."""

CONTRAST = 4.0
"""A change tells right inputs from wrong where, in a rehearsal, wrong ones leave this many times as much of it."""

OVERFIT = 0.15
"""A loss below this share of what right inputs leave in a rehearsal is that of inputs that fit too well."""

STUCK = 4.0
"""A loss above this many times what right inputs leave in a rehearsal is that of a search that got stuck."""


@torch.no_grad()
def rehearsed(victim: Victim, recipe: Recipe, x: Tensor) -> Victim | None:
    """Return the victim as if it had been trained on inputs ``x`` (n, ...), for as far as it was trained.

    Labels are guessed. The optimiser's kind, the mode of batch norm and the rounding of the files are the real ones;
    decay is left out, and no learning rate is needed: each step is a share of the real change's length. ``None`` where
    a step has no length, or none that is a number.
    """
    labels = guess(victim, replace(recipe, size=len(x), labels=None), generator(0))
    once = Recipe(len(x), 1.0, len(x), 1, batch_norm=recipe.batch_norm)
    theta, length = dict(victim.theta0), float(norm(victim.delta)) / STEPS
    memory: dict[str, tuple[Tensor, Tensor]] = {}
    for number in range(1, STEPS + 1):
        step, _ = predict(replace(victim, theta0=theta), once, x, labels)
        if recipe.optimizer != "sgd":
            memory = _moments(recipe, step, memory)
            step = {name: _rescaled(recipe, *memory[name], number) for name in step}
        size = float(norm(step))
        if not 0 < size < math.inf:
            return None
        share = length / size
        theta = {name: value + share * step[name] if name in step else value for name, value in theta.items()}
    kinds = {name: stored(value) for name, value in victim.thetaf.items()}
    return replace(victim, thetaf={name: value.to(kinds[name]).to(value) for name, value in theta.items()})


def compared(loss: float, right: float, wrong: float) -> str:
    """Return what a loss says beside those of a rehearsal, as the rest of a clause; empty where it is as expected.

    Args:
        loss: The share of the change that a search left, in [0, 1].
        right: What right inputs left in a rehearsal; 0 for unknown.
        wrong: What wrong ones left there.
    """
    if not right:
        return ""
    if wrong < CONTRAST * right:
        return f"; in a rehearsal right ones left {right:.2g} of the change and wrong ones no more than {wrong:.2g}"
    how = "less" if loss < OVERFIT * right else "more" if loss > STUCK * right else ""
    said = f"; they leave {loss:.2g} of the change, far {how} than the {right:.2g} of right ones in a rehearsal"
    return said if how else ""


def _moments(
    recipe: Recipe, step: Mapping[str, Tensor], memory: Mapping[str, tuple[Tensor, Tensor]]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return Adam's running means of steps and of their squares."""
    old = {name: memory.get(name, (torch.zeros_like(value), torch.zeros_like(value))) for name, value in step.items()}
    return {
        name: (torch.lerp(value, old[name][0], recipe.beta1), torch.lerp(value.square(), old[name][1], recipe.beta2))
        for name, value in step.items()
    }


def _rescaled(recipe: Recipe, mean: Tensor, square: Tensor, number: int) -> Tensor:
    """Return Adam's direction after ``number`` steps."""
    root = (square / (1 - recipe.beta2**number)).sqrt() + recipe.eps
    return mean / (1 - recipe.beta1**number) / root
