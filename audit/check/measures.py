"""How much of a change records leave unexplained: by what layers' changes span, by gradients, by training on them.

Each measure takes records (m, ...) and returns the logarithm of the share that they leave: shares of several layers
differ by orders of magnitude. Both grow smaller with more records, so that only sets of one size compare.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from ...attacks.contract.attack import generator
from ...attacks.contract.params import Params
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ...attacks.explain.records import Explained, learned
from ...attacks.layers.coverage import cover
from ...attacks.layers.inputs import inputs_of, middle
from ...attacks.layers.telling import telling
from ...attacks.simulation import batchnorm
from .training import trained

Measure = Callable[[Tensor], float]

LEAST = 1e-7
"""Shares below this are rounding."""

LONG = 2e9
"""Parameters times records of all epochs, from which on training on every set takes too long to be tried."""


def by_layers(victim: Victim, recipe: Recipe, change: Params, count: int, power: float) -> Measure | None:
    """Return the mean logarithm of the cover over all layers whose change tells ``count`` records apart.

    ``None`` where there is none. Forward passes only; ``power`` as in :func:`.coverage.directions`.
    """
    chosen = telling(victim, change, count, power, 1.0, filled=False)
    if not chosen:
        return None
    point, paths = middle(victim), dict.fromkeys(layer.path for layer, _ in chosen)

    @torch.no_grad()
    def measure(records: Tensor) -> float:
        x = victim.medium.encode(records.to(victim.like))
        with batchnorm.train_mode(victim.module) if recipe.batch_norm == "train" else nullcontext():
            rows = inputs_of(victim, point, x, paths)
        left = [float(cover(rows[layer.path][:, layer.group].flatten(0, 1), span.weighted)) for layer, span in chosen]
        return sum(math.log(max(share, LEAST)) for share in left) / len(left)

    return measure


def by_gradients(victim: Victim, change: Params) -> Measure:
    """Return the logarithm of what the records' own gradients leave; for any network, at two passes a record."""
    whole = Explained(victim, change)

    def measure(records: Tensor) -> float:
        x = victim.medium.encode(records.to(victim.like))
        return math.log(max(whole.unexplained(whole.columns(x)), LEAST))

    return measure


def by_training(victim: Victim, recipe: Recipe, change: Params, size: int) -> Measure | None:
    """Return the logarithm of what is left of the change beside that of a training on the records, of any length.

    Far clearer than the others under noise and Adam: it starts from the network before, which holds none, and goes all
    the way. ``None`` where the recipe is not known, or a training on ``size`` records takes long.
    """
    numbers = sum(value.numel() for value in change.values())
    if math.isnan(recipe.lr) or numbers * size * recipe.epochs > LONG:
        return None
    plain = replace(recipe, size=size, batch_size=min(recipe.batch_size, size), labels=None, weight_decay=0.0)
    own = _product(change, change)

    def measure(records: Tensor) -> float:
        x = victim.medium.encode(records.to(victim.like))
        found = victim.change(trained(victim, plain, x, learned(victim, x), generator(0)))
        cosine = _product(found, change) / max((_product(found, found) * own) ** 0.5, 1e-30)
        return math.log(max(1 - max(cosine, 0.0) ** 2, LEAST)) if math.isfinite(cosine) else 0.0

    return measure


def _product(one: Params, two: Params) -> float:
    return sum(float((value.double() * two[name].double()).sum()) for name, value in one.items())
