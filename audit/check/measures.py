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
from torch.utils.flop_counter import FlopCounterMode

from ...attacks.contract.attack import generator
from ...attacks.contract.params import Params
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ...attacks.explain.records import Explained, learned
from ...attacks.layers.coverage import cover
from ...attacks.layers.inputs import middle
from ...attacks.layers.seen import seen_of
from ...attacks.layers.telling import telling
from ...attacks.simulation import batchnorm
from ...attacks.simulation.losses import goal_of
from .training import trained

Measure = Callable[[Tensor], float]

LEAST = 1e-7
"""Shares below this are rounding."""

LONG, STEPS = 2e11, 2000
"""Operations, and steps, of a training, from which on it is not tried on every set."""

FARTHEST = 10.0
"""A training that goes so many times as far as the real one says nothing: the recipe is not that of the change."""


class Unmeasured(Exception):
    """Some set cannot be measured, so that the measure says nothing of any."""


def by_layers(victim: Victim, recipe: Recipe, change: Params, count: int, power: float) -> Measure | None:
    """Return the mean logarithm of the cover over all layers whose change tells ``count`` records apart.

    ``None`` where there is none. Forward passes only; ``power`` as in :func:`.coverage.directions`.
    """
    chosen = telling(victim, change, count, power, 1.0, filled=False)
    if not chosen:
        return None
    point, places = middle(victim), [layer.place for layer, _ in chosen]

    @torch.no_grad()
    def measure(records: Tensor) -> float:
        x = victim.medium.encode(records.to(victim.like))
        with batchnorm.train_mode(victim.module) if recipe.batch_norm == "train" else nullcontext():
            seen = seen_of(victim, point, x, places)
        left = [float(cover(seen[layer.place], span.weighted)) for layer, span in chosen]
        return sum(math.log(max(share, LEAST)) for share in left) / len(left)

    return measure


def by_gradients(victim: Victim, recipe: Recipe, change: Params) -> Measure:
    """Return the logarithm of what the records' own gradients leave; for any network, at two passes a record."""
    whole = Explained(victim, change, goal_of(recipe))

    def measure(records: Tensor) -> float:
        x = victim.medium.encode(records.to(victim.like))
        return math.log(max(whole.unexplained(whole.columns(x)), LEAST))

    return measure


def by_training(victim: Victim, recipe: Recipe, change: Params, records: Tensor) -> Measure | None:
    """Return the logarithm of what is left of the change beside that of a training on the records, of any length.

    Far clearer than the others under noise and Adam: it starts from the network before, which holds none, and goes all
    the way. ``None`` where the recipe is not known, or a training on as many as ``records`` (m, ...) takes long. Where
    a set's training fails or blows up, the measure raises :class:`Unmeasured`.
    """
    size = len(records)
    if math.isnan(recipe.lr):
        return None
    plain = replace(recipe, size=size, batch_size=min(recipe.batch_size, size), labels=None, weight_decay=0.0)
    if plain.steps > STEPS or _operations(victim, records[:1]) * size * recipe.epochs > LONG:
        return None
    own = _product(change, change)

    def measure(records: Tensor) -> float:
        x = victim.medium.encode(records.to(victim.like))
        try:
            found = victim.change(trained(victim, plain, x, learned(victim, x), generator(0)))
        except (RuntimeError, ValueError) as error:  # a last batch of one under batch norm, or no memory left
            raise Unmeasured from error
        length = _product(found, found)
        if not 0 < length <= FARTHEST**2 * own:
            raise Unmeasured
        cosine = _product(found, change) / (length * own) ** 0.5
        return math.log(max(1 - cosine * abs(cosine), LEAST))

    return measure


def _operations(victim: Victim, record: Tensor) -> int:
    """Return the floating-point operations of a forward and a backward pass of one record (1, ...)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        victim.logits(victim.theta0, victim.medium.encode(record.to(victim.like)))
    return 3 * int(counter.get_total_flops())


def _product(one: Params, two: Params) -> float:
    return sum(float((value.double() * two[name].double()).sum()) for name, value in one.items())
