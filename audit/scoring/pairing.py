"""Rows and columns of a matrix of similarities, paired one to one."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Method = Literal["hungarian", "greedy"]
Scores = NDArray[np.float64]


def assign(scores: Scores, method: Method) -> list[tuple[int, int]]:
    """Pair rows with columns one to one so that scores are high.

    Args:
        scores: (m, n), finite; higher is better.
        method: ``hungarian`` gives the greatest sum. ``greedy`` takes the best pair, removes its row and column, and
            so on, as the SimuDy authors evaluate; its sum is never greater.

    Returns:
        ``min(m, n)`` pairs (row, column); greedy ones in the order in which they were found.
    """
    return _METHODS[method](scores)


def _hungarian(scores: Scores) -> list[tuple[int, int]]:
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]


def _greedy(scores: Scores) -> list[tuple[int, int]]:
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for place in np.argsort(-scores, axis=None, kind="stable"):
        row, column = divmod(int(place), scores.shape[1])
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return list(pairs.items())


_METHODS: dict[str, Callable[[Scores], list[tuple[int, int]]]] = {"hungarian": _hungarian, "greedy": _greedy}
