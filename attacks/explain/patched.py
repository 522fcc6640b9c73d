"""Images of a vision transformer's training where there were several: where they lie, and what explains the change.

Their patches lie in affine spaces (:mod:`..layers.several`), and what its linear layers see of them lies in the span of
these layers' changes, where tokens are fewer than units.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..contract.recipe import Recipe
from ..contract.victim import Victim
from ..layers import coverage
from ..layers.inputs import inputs_of, middle, trained
from ..layers.patching import Patching
from ..layers.rounding import noise, stored
from ..layers.seen import Rows
from ..layers.several import Space
from ..layers.telling import likely
from .inversion import predict

RANK = 0.9
"""A layer counts if its change has this share of the rank that all tokens can give it: not behind a single token."""

FLOOR = 1e-5
"""Added to every share before its logarithm is taken."""

Memory = Mapping[str, Tensor]


def remembered(victim: Victim, count: int, found: Space | None) -> dict[str, Tensor]:
    """Return what a search needs: the affine spaces, and by their paths what the changes of linear layers span.

    Args:
        victim: The network before and after training.
        count: How many images there were.
        found: Where their patches lie, ``None`` for anywhere.
    """
    memory = {}
    if found is not None:
        memory = {"base": found.base.to(victim.like), "differences": found.differences.to(victim.like)}
    for layer in trained(victim, likely(victim, 1)):
        wanted = count * layer.positions
        if layer.kernel or layer.positions == 1 or wanted > min(layer.units, layer.width):
            continue
        sides = [layer.matrix(params) for params in (victim.theta0, victim.thetaf)]
        try:
            whole = coverage.directions(
                layer.matrix(victim.delta), noise(sides, [stored(s) for s in sides]), 1.0, wanted
            )
        except ValueError:
            continue
        if len(whole.kept) >= RANK * wanted:
            memory |= {f"{layer.path}.weighted": whole.weighted, f"{layer.path}.kept": whole.kept}
    return memory


def point(victim: Victim, recipe: Recipe) -> Victim:
    """Return the victim as if training had begun where one step stands for all: of one step at its start."""
    return replace(victim, theta0=middle(victim, 0.0 if recipe.steps == 1 else 0.5))


def placed(place: Patching, memory: Memory, x: Tensor) -> Tensor:
    """Return the images nearest to ``x`` (n, ...) whose patches lie where those of training do, differentiable."""
    if "base" not in memory:
        return x
    spaces = Space(memory["base"], memory["differences"])
    inner = place.joined(spaces.nearest(place.cut(x)), x.shape[1:])
    return torch.where(place.joined(torch.ones_like(place.cut(x)), x.shape[1:]) > 0, inner, x)


def change(victim: Victim, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the change that one step on ``x`` makes, up to a factor, differentiable."""
    return predict(victim, Recipe(len(x), 1.0, len(x), 1), x, labels)[0]


def covers(victim: Victim, memory: Memory, x: Tensor) -> Tensor:
    """Return the mean logarithm of the share of the linear layers' changes that ``x`` cannot explain (a scalar)."""
    seen = _seen(victim, memory, x)
    parts = [coverage.cover(rows, memory[f"{path}.weighted"]) for path, rows in seen.items()]
    return (torch.stack(parts) + FLOOR).log().mean() if parts else x.new_zeros(())


def outside(victim: Victim, memory: Memory, x: Tensor) -> Tensor:
    """Return (n,) the share of what the layers see of each image that lies outside of what their changes span."""
    seen = _seen(victim, memory, x)
    parts = [coverage.outside(rows, memory[f"{path}.kept"]) for path, rows in seen.items()]
    return torch.stack(parts).mean(0) if parts else x.new_zeros(len(x))


def _seen(victim: Victim, memory: Memory, x: Tensor) -> dict[str, Rows]:
    paths = [name.removesuffix(".kept") for name in memory if name.endswith(".kept")]
    return {path: Rows(rows.flatten(1, 2)) for path, rows in inputs_of(victim, victim.theta0, x, paths).items()}
