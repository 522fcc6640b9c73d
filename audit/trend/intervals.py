"""Differences between two audits of the same records, later less earlier, with 95 % intervals. No report here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest, norm, t

CONFIDENCE = 0.95
"""Of every interval."""

Reach = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """What a number became less what it was.

    Attributes:
        value: The difference.
        low: Lower end of its interval.
        high: Upper end.
        tested: Whether a fall is no chance by an exact test as well, where the interval is an approximation.
    """

    value: float
    low: float
    high: float
    tested: bool = True

    @property
    def sign(self) -> int:
        """1 where the number clearly rose, -1 where it clearly fell, else 0."""
        if self.low > 0:
            return 1
        return -1 if self.high < 0 and self.tested else 0


def paired_shares(both: int, earlier: int, later: int, neither: int) -> Difference:
    """Return the difference of two shares of the same records (Newcombe 1998, Stat. Med. 17:2635, method 10).

    Wilson's intervals of the two shares are put together with their correlation. For few records the interval is too
    short, so that a fall is clear only where the exact test of McNemar has p <= 5 %, too.

    Args:
        both: Records that count in both audits.
        earlier: Those that count in the earlier one alone.
        later: Those that count in the later one alone.
        neither: Those that count in none.
    """
    was, now, total = both + earlier, both + later, both + earlier + later + neither
    product = math.prod((was, total - was, now, total - now))
    excess = both * neither - earlier * later
    shared = (max(excess - total / 2, 0) if excess > 0 else excess) / math.sqrt(product) if product else 0.0
    found = _joined(now, total, was, total, shared)
    moved = earlier + later
    tested = moved > 0 and bool(binomtest(earlier, moved).pvalue <= 1 - CONFIDENCE)
    return Difference(found.value, found.low, found.high, tested)


def shares(earlier: int, of_earlier: int, later: int, of_later: int) -> Difference:
    """Return the difference of two shares of different records (Newcombe 1998, Stat. Med. 17:873, method 10)."""
    return _joined(later, of_later, earlier, of_earlier, 0.0)


def paired_mean(differences: Sequence[float]) -> Difference | None:
    """Return the mean of differences, with Student's interval; ``None`` for fewer than two."""
    count = len(differences)
    if count < 2:
        return None
    mean = math.fsum(differences) / count
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in differences) / (count - 1) / count)
    reach = float(t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * spread
    return Difference(mean, mean - reach, mean + reach)


def areas(earlier: float, its: Reach, later: float, its_own: Reach) -> Difference:
    """Return the difference of two numbers with intervals of their own, as if they were independent and normal.

    Args:
        earlier: The first number.
        its: Its 95 % interval, which may be cut at an end of its range.
        later: The second number.
        its_own: That of the second number.
    """
    reach = math.hypot(*(max(value - low, high - value) for value, (low, high) in ((earlier, its), (later, its_own))))
    return Difference(later - earlier, later - earlier - reach, later - earlier + reach)


def _joined(now: int, of_now: int, was: int, of_was: int, shared: float) -> Difference:
    """Return the difference of two shares, from Wilson's intervals and the correlation of the two."""
    one, two = now / of_now, was / of_was
    below_one, above_one = _wilson(now, of_now)
    below_two, above_two = _wilson(was, of_was)
    low = _reach(one - below_one, above_two - two, shared)
    high = _reach(two - below_two, above_one - one, shared)
    return Difference(one - two, max(one - two - low, -1.0), min(one - two + high, 1.0))


def _reach(one: float, two: float, shared: float) -> float:
    return math.sqrt(max(one**2 - 2 * shared * one * two + two**2, 0.0))


def _wilson(found: int, count: int) -> Reach:
    """Return Wilson's interval of a share."""
    z, share = float(norm.ppf(0.5 + CONFIDENCE / 2)), found / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)
