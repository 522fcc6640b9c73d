"""How alike records and reconstructions are: as they are given, and as training may have seen them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .kind import Kind, KindError, Told, Transforming, unheard
from .pairing import Scores

_ROUNDING = 1e-6
"""How far rounding may take a similarity out of [-1, 1]."""


CHARGE = 0.1
"""What a similarity in the best way loses before it is held against that of the record as it is, and against chance.

Without it the best of many ways would raise what chance gives by about as much, and hide weak matches of records that
need none; with it chance is what it is without ways, and only clear matches are found by them.
"""


class Pool(NamedTuple):
    """Records that are compared: training or held-out ones.

    Attributes:
        records: (m, ...).
        readings: Other readings of the same files, by name, each as ``records``.
        lacking: How many readings only the other records have, to which these are held.
    """

    records: Tensor
    readings: Mapping[str, Tensor]
    lacking: int = 0


@dataclass(frozen=True)
class Compared:
    """Records against reconstructions.

    Attributes:
        scores: (m, n) the higher similarity of each record to each reconstruction, as it is or in its best way, the
            latter less :data:`CHARGE`: what records are paired and judged by.
        better: (m, n) whether that is of the best way.
        records: (m, ...) as they are.
        changed: (m, ...) in their best way.
        names: (m,) that way in words; empty where it is none.
    """

    scores: Scores
    better: NDArray[np.bool_]
    records: Tensor
    changed: Tensor
    names: tuple[str, ...]

    @property
    def similarity(self) -> Scores:
        """(m, n) the true similarity, as it is or in the best way."""
        return self.scores + CHARGE * self.better

    def shown(self, row: int, column: int) -> Tensor:
        """Return the record (...) as it was compared with a reconstruction."""
        return (self.changed if self.better[row, column] else self.records)[row]

    def name(self, row: int, column: int) -> str:
        """Return what was done to the record for that, in words; empty for nothing."""
        return self.names[row] if self.better[row, column] else ""


def compare(
    kind: Kind, pool: Pool, guesses: Tensor, turned: bool, told: Told = unheard, without: Tensor | None = None
) -> Compared:
    """Compare every record with every reconstruction, as it is and in the way that suits it best.

    That way is chosen for the record alone, by its likeness to any of the reconstructions: the same is done for
    training and for held-out records, so that these go on to show what chance gives.

    Args:
        kind: What the records are.
        pool: m records.
        guesses: (n, ...) reconstructions.
        turned: Whether ways count that make :meth:`.kind.Kind.mismatches`.
        told: Hears of pairs while they are scored: :func:`passes` times m times n.
        without: (m,) for each record a reconstruction that does not count for its way, or -1.

    Raises:
        KindError: A similarity that is not a number in [-1, 1].
    """
    records = pool.records
    scores = scored(kind, records, guesses, told)
    better = np.zeros(scores.shape, dtype=bool)
    if not isinstance(kind, Transforming) or not scores.size:
        return Compared(scores, better, records, records, ("",) * len(records))
    changed = kind.transformed(records, pool.readings, guesses, turned, pool.lacking, without)
    rows = [row for row, name in enumerate(changed.names) if name]
    if rows:
        others = scored(kind, changed.records[rows], guesses, told) - CHARGE
        better[rows] = others > scores[rows]
        scores[rows] = np.maximum(scores[rows], others)
    told((len(records) - len(rows)) * len(guesses))
    return Compared(scores, better, records, changed.records, changed.names)


def passes(kind: Kind) -> int:
    """Return how often :func:`compare` scores each pair."""
    return 2 if isinstance(kind, Transforming) else 1


def scored(kind: Kind, records: Tensor, guesses: Tensor, told: Told = unheard) -> Scores:
    """Return the similarity (m, n) of records and reconstructions. Raises :class:`.kind.KindError`."""
    scores = kind.matrix(records, guesses, told).cpu().numpy()
    if not (np.abs(scores) <= 1 + _ROUNDING).all():
        raise KindError(
            f"The {kind.about.statistic} of some {kind.about.words.many} is not in [-1, 1].",
            f"Without it nothing can be concluded: repair the package that brings the kind {kind.about.name!r}.",
        )
    return scores
