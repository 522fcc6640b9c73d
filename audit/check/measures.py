"""How much of a change given records leave unexplained: by what layers' changes span, or by the records' gradients.

Each measure takes records (m, ...) and returns the logarithm of the share that they leave: shares of several layers
differ by orders of magnitude. Both grow smaller with more records, so that only sets of one size compare.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from ...attacks.contract.params import Params
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ...attacks.explain.records import Explained
from ...attacks.layers.coverage import cover
from ...attacks.layers.inputs import inputs_of, middle
from ...attacks.layers.telling import telling
from ...attacks.simulation import batchnorm

Measure = Callable[[Tensor], float]

LEAST = 1e-7
"""Shares below this are rounding."""


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
