"""How far scores of records exceed those of held-out ones. Numbers in, numbers out: no record here.

A record that was not trained on is exchangeable with a held-out one where the score treats all alike, so that ranks
give exact p-values (Vovk et al. 2005), whatever the score is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, hypergeom, norm

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

CONFIDENCE = 0.95
"""Of intervals and bounds."""

GUESSED = 0.1
"""Share of all records whose role is guessed for a bound on epsilon; fixed before anything is seen."""


def conformal(scores: Values, held_out: Values) -> Values:
    """Return the p-values in (0, 1] of scores: ``(1 + #{held-out >= score}) / (1 + #held-out)``."""
    ordered = np.sort(held_out)
    above = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.asarray((1.0 + above) / (1.0 + len(ordered)))


def auc(scores: Values, held_out: Values) -> tuple[float, tuple[float, float]]:
    """Return the area under the ROC curve, and its 95 % interval (DeLong et al. 1988)."""
    below, above = _placed(scores, held_out), 1 - _placed(held_out, scores)
    area = float(below.mean())
    spread = sum(float(part.var(ddof=1)) / len(part) if len(part) > 1 else 0.25 for part in (below, above))
    reach = float(norm.ppf(0.5 + CONFIDENCE / 2)) * spread**0.5
    return area, (max(area - reach, 0.0), min(area + reach, 1.0))


def _placed(values: Values, others: Values) -> Values:
    """Return for each value the share of others below it; one that is equal counts half."""
    ordered = np.sort(others)
    sides = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
    return np.asarray((sides[0] + sides[1]) / (2 * len(ordered)))


def tpr(scores: Values, held_out: Values, fpr: float) -> float | None:
    """Return the share of scores whose p-value is at most ``fpr``; ``None`` for too few held-out ones to know."""
    if not len(scores) or len(held_out) < round(1 / fpr):
        return None
    highest = np.sort(held_out)[::-1][int(fpr * len(held_out))]
    return float((scores > highest).mean())


def interval(share: float | None, count: int) -> tuple[float, float] | None:
    """Return the Clopper-Pearson 95 % interval of a share of ``count``; ``None`` for none."""
    if share is None:
        return None
    ends = binomtest(round(share * count), count).proportion_ci(CONFIDENCE, "exact")
    return float(ends.low), float(ends.high)


def curve(scores: Values, held_out: Values, points: int = 200) -> list[tuple[float, float]]:
    """Return (share of held-out, share of scores) above each of some values, from (0, ...) to (1, 1)."""
    ordered = np.sort(held_out)[::-1]
    counts = np.unique(np.r_[0, np.geomspace(1, len(ordered), points).astype(int)])
    values = [ordered[count] if count < len(ordered) else -np.inf for count in counts]
    return [(count / len(ordered), float((scores > value).mean())) for count, value in zip(counts, values, strict=True)]


def at_least(scores: Values, held_out: Values, mistake: float = 1 - CONFIDENCE) -> int:
    """Return how many of the scores are of records that were trained on, at least, with confidence ``1 - mistake``.

    Of records that were not trained on, f or more lie above the k-th highest held-out score exactly where the highest
    ``f + k - 1`` of both hold less than k held-out ones, which is hypergeometric. A number of trained ones is ruled out
    where, at any of a few k that were fixed beforehand (Bonferroni), that is too rare for all others that lie above.
    """
    ordered, total = np.sort(held_out)[::-1], len(scores)
    ranks = [2**power for power in range(20) if 2**power <= max(len(ordered) // 2, 1)]
    if not total or not len(ordered):
        return 0
    above = [int((scores > ordered[rank - 1]).sum()) for rank in ranks]

    def possible(trained: int) -> bool:
        """Whether so many others above each rank are no rarer than they may be."""
        pool = total - trained + len(ordered)
        others = [max(found - trained, 0) for found in above]
        chances = (
            hypergeom.cdf(rank - 1, pool, len(ordered), more + rank - 1)
            for rank, more in zip(ranks, others, strict=True)
            if more
        )
        return all(chance > mistake / len(ranks) for chance in chances)

    low, high = 0, total
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if possible(middle) else (middle + 1, high)
    return low


def epsilon(scores: Values, held_out: Values) -> tuple[float, int, int]:
    """Return a lower bound on epsilon with 95 % confidence, the number of guesses, and how many were right.

    The highest scores are guessed to be of trained records, the lowest of others. Where a fair coin decided for each
    record, at most a binomial number with ``e^epsilon / (1 + e^epsilon)`` is right (Steinke et al. 2023, theorem 5.2,
    delta 0).
    """
    guesses = max(int(GUESSED * (len(scores) + len(held_out)) / 2), 1)
    order = np.argsort(np.r_[scores, held_out], kind="stable")
    trained = order < len(scores)
    right = int(trained[-guesses:].sum() + (~trained[:guesses]).sum())
    total = 2 * guesses
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        rare = binom.sf(right - 1, total, 1 / (1 + np.exp(-middle))) <= 1 - CONFIDENCE
        low, high = (middle, high) if rare else (low, middle)
    return low, total, right


def quantiles(values: Values | Sequence[float], most: int = 512) -> list[float]:
    """Return values in ascending order, or ``most`` quantiles where there are more, to four decimals."""
    ordered = np.sort(np.asarray(values, np.float64))
    if len(ordered) > most:
        ordered = np.quantile(ordered, np.linspace(0, 1, most))
    return [round(float(value), 4) for value in ordered]
