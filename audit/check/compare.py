"""Records measured beside records that were not trained on, and beside altered copies of themselves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.special import stdtr
from torch import Tensor

from ...attacks.contract.attack import generator

MOST = 20
"""Most records of one set."""

SETS = 8
"""Most sets of each kind, and half of that the fewest sets of held-out records."""

LEVEL = 1e-3
"""Probability at which the data of a wrong folder may seem to explain the change."""

CLOSER = 0.95
"""The data leave at most this share of what others leave."""

ALONE = 0.7
"""The same where there is nothing to compare with but altered copies."""


@dataclass(frozen=True)
class Sets:
    """Sets of records of one size.

    Attributes:
        data: Of the training records, as they are given.
        held_out: Of records that were not trained on; none without a control set.
        altered: The first set of ``data``, altered in one way after the other.
    """

    data: tuple[Tensor, ...]
    held_out: tuple[Tensor, ...]
    altered: tuple[Tensor, ...]

    @property
    def size(self) -> int:
        """Records in each."""
        return len(self.data[0])

    def fewer(self) -> "Sets":
        """Return half as many."""
        most = SETS // 2
        return Sets(self.data[:most], self.held_out[:most], self.altered[:most])


@dataclass(frozen=True)
class Shares:
    """Logarithms of the shares that sets leave unexplained, ordered as the :class:`Sets` are."""

    data: list[float]
    held_out: list[float]
    altered: list[float]

    @property
    def own(self) -> float:
        """The mean of the data."""
        return mean(self.data)

    @property
    def others(self) -> float:
        """The lowest of whatever the data are compared with."""
        held_out = [mean(self.held_out)] if self.held_out else []
        return min(held_out + [self.own + value - self.data[0] for value in self.altered], default=0.0)

    @property
    def explain(self) -> bool:
        """Whether the data leave clearly less than held-out records, and less than altered copies."""
        if not self.held_out:
            return self.own - self.others <= math.log(ALONE)
        gap = self.own - mean(self.held_out)
        return self.own <= self.others and gap <= math.log(CLOSER) and chance(self.data, self.held_out) <= LEVEL


def size_of(data: int, held_out: int | None) -> int:
    """Return how many records each set has, where so many are there; ``None`` held-out ones leave the data alone."""
    return max(min(data, MOST, data if held_out is None else held_out // (SETS // 2)), 1)


def subsets(records: Tensor, size: int) -> tuple[Tensor, ...]:
    """Return up to :data:`SETS` disjoint sets of ``size`` records, drawn once."""
    order = torch.randperm(len(records), generator=generator(0))
    return tuple(records[rows] for rows in torch.split(order, size)[:SETS] if len(rows) == size)


def chance(data: Sequence[float], others: Sequence[float]) -> float:
    """Return the probability of values this low if both are drawn alike (Student's t, one-sided, equal spread)."""
    count, spare = len(data), len(others)
    if spare < 2:
        return 1.0
    squares = sum(sum((value - mean(part)) ** 2 for value in part) for part in (data, others))
    free = count + spare - 2
    spread = math.sqrt(squares / free * (1 / count + 1 / spare)) or 1e-12
    return float(stdtr(free, (mean(data) - mean(others)) / spread))


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one number."""
    return sum(values) / len(values)
