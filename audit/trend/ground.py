"""When less that was found in the later of two audits is safer, and what a difference then means. No torch here."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..report.model import AuditReport
from .intervals import Difference
from .model import Change, Contrast, Measure

MOST_NAMED = 3
"""Of the things in which two audits differ, this many are named in a sentence."""


@dataclass(frozen=True)
class Ground:
    """What two audits stand on.

    Attributes:
        comparable: Whether numbers of one can be held against those of the other at all.
        doubts: Why less that was found is not safer, whatever was measured; none where it is.
    """

    comparable: bool
    doubts: tuple[str, ...]

    def change(self, sign: int, doubts: Sequence[str] = ()) -> Change:
        """Return what it means that something rose (1), fell (-1) or did neither (0).

        More that was found is worse, whatever else differs; less is better only where nothing speaks against that.

        Args:
            sign: Where the lower is the better.
            doubts: Why a fall of this number is not safer.
        """
        if not self.comparable:
            return "unknown"
        if sign < 0:
            return "unknown" if self.doubts or doubts else "better"
        return "worse" if sign else "same"

    def measure(
        self,
        earlier: float | None,
        later: float | None,
        difference: Difference | None,
        doubts: Sequence[str] = (),
        of: tuple[int, int] | None = None,
        records: int | None = None,
    ) -> Measure:
        """Return a number in both audits, with what its difference means where that is known."""
        if difference is None or not self.comparable:
            return Measure(earlier=earlier, later=later, of=of, change="same" if self.comparable else "unknown")
        return Measure(
            earlier=earlier, later=later, of=of, difference=difference.value, records=records,
            interval=(difference.low, difference.high), change=self.change(difference.sign, doubts),
        )  # fmt: skip


def ground(later: AuditReport, contrasts: Sequence[Contrast]) -> Ground:
    """Return what two audits stand on, as they differ in these things."""
    doubts = []
    if later.verdict.status == "inconclusive":
        doubts.append("The later audit is inconclusive, and what it did not find may be there all the same.")
    names = [contrast.name for contrast in contrasts if contrast.effect == "doubt"]
    if names:
        doubts.append(f"The later audit may have seen less, as these differ: {listed(names)}.")
    return Ground(all(contrast.effect != "bar" for contrast in contrasts), tuple(doubts))


def listed(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
