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

SETS, OWN, FEWEST = 12, 4, 4
"""Most sets of held-out records, most of the data, and how many disjoint sets the held-out records give at least."""

LEVEL = 1e-3
"""Probability at which the data of a wrong folder may seem to explain the change."""

LIKELY = 0.01
"""Probability at which wrong data may leave less than their altered copies: held-out records may be of another kind."""

CLOSER = 0.95
"""The data leave at most this share of what others leave."""

FARTHER = 1.25
"""Or they explain at least so many times as much as others do: of a change under much noise they leave nearly all."""

FEWEST_EXPLAINED = 0.002
"""Share of the change that they explain then, at least."""

ALONE = 0.7
"""The same where there is nothing to compare with but altered copies."""


@dataclass(frozen=True)
class Sets:
    """Sets of records of one size.

    Attributes:
        data: Of the training records, as they are given.
        held_out: Of records that were not trained on; none without a control set.
        altered: The first set of ``data``, altered in one way after the other.
        overlap: Share of a held-out set that another one holds too, on average.
    """

    data: tuple[Tensor, ...]
    held_out: tuple[Tensor, ...]
    altered: tuple[Tensor, ...]
    overlap: float = 0.0

    @property
    def size(self) -> int:
        """Records in each."""
        return len(self.data[0])

    def fewer(self) -> "Sets":
        """Return half as many, but for the altered ones."""
        return Sets(self.data[: OWN // 2], self.held_out[: SETS // 2], self.altered, self.overlap)


@dataclass(frozen=True)
class Shares:
    """Logarithms of the shares that sets leave unexplained, ordered as the :class:`Sets` are."""

    data: list[float]
    held_out: list[float]
    altered: list[float]
    overlap: float = 0.0

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
    def farther(self) -> bool:
        """Whether the data explain several times as much as whatever they are compared with."""
        explained = -math.expm1(self.own)
        return explained >= max(FEWEST_EXPLAINED, -FARTHER * math.expm1(self.others))

    @property
    def explain(self) -> bool:
        """Whether the data leave clearly less than held-out records, and than any altered copy."""
        if not self.held_out:
            return self.own - self.others <= math.log(ALONE)
        closer = self.own - self.others <= math.log(CLOSER) or self.farther
        apart = chance(self.data, self.held_out, self.overlap) <= LEVEL
        alone = len(self.altered) < 2 or chance(self.data[:1], self.altered) <= LIKELY
        return closer and apart and alone


def size_of(data: int, held_out: int | None) -> int:
    """Return how many records each set has, where so many are there; ``None`` held-out ones leave the data alone."""
    return max(min(data, MOST, data if held_out is None else held_out // FEWEST), 1)


def disjoint(records: Tensor, size: int, most: int) -> tuple[Tensor, ...]:
    """Return up to ``most`` disjoint sets of ``size`` records, drawn once."""
    return tuple(records[rows] for rows in _dealt(len(records), size, generator(0))[:most])


def drawn(records: Tensor, size: int) -> tuple[tuple[Tensor, ...], float]:
    """Return sets of ``size`` held-out records, disjoint if there are enough of them, and the share they overlap."""
    count, gen = len(records), generator(0)
    apart = count // size
    if apart >= SETS:
        return disjoint(records, size, SETS), 0.0
    dealt = [rows for _ in range(SETS) for rows in _dealt(count, size, gen)]
    return tuple(records[rows] for rows in dealt[: min(SETS, max(count // 2, apart))]), size / count


def _dealt(count: int, size: int, gen: torch.Generator) -> list[Tensor]:
    return [rows for rows in torch.split(torch.randperm(count, generator=gen), size) if len(rows) == size]


def chance(data: Sequence[float], others: Sequence[float], overlap: float = 0.0) -> float:
    """Return the probability of values this low if both are drawn alike: Student's t, one-sided.

    Args:
        data: Values of disjoint sets.
        others: Values of held-out sets; at least two, else 1 is returned.
        overlap: Correlation of any two of them, as they share records; the spread is larger than it looks by that.
    """
    free = len(others) - 1
    if free < 1:
        return 1.0
    middle = mean(others)
    spread = sum((value - middle) ** 2 for value in others) / free / (1 - overlap)
    error = spread * (1 / len(data) + overlap + (1 - overlap) / len(others))
    return float(stdtr(free, (mean(data) - middle) / (math.sqrt(error) or 1e-12)))


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one number."""
    return sum(values) / len(values)
