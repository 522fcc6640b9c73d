"""Lines of the page's tables: a number of the paper, ours on the same kind of victim, and how the two differ."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..cover import EARLIER
from .printed import Printed
from .records import Group, Row

HEAD = (
    "paper",
    "images",
    "there",
    "here",
    "difference",
    "audit mode (strangers)",
    "recovered",
    "attack here",
    "record",
)
MISSING = ("paper", "images", "there", "attack here", "what it would take")


@dataclass(frozen=True)
class Line:
    """One comparison.

    Attributes:
        printed: The paper's number; ``None`` where ours is an addition to the line above.
        group: Ours; ``None`` where it was not measured.
        images: How many images ours had.
        attack: Ours, and how its conditions differ.
        missing: What measuring it would cost, where it was not measured.
        headline: Whether this is the row that stands for ours in summary and figure.
    """

    printed: Printed | None
    group: Group | None
    images: int
    attack: str
    missing: str = ""
    headline: bool = True

    @property
    def difference(self) -> float | None:
        """Ours in the paper's scoring less the paper's."""
        ours = self.group.mean("ssim_paper") if self.group else None
        return None if ours is None or self.printed is None else ours - self.printed.value


def chosen(printed: Printed | None, groups: Sequence[Group], images: int, attack: str, missing: str) -> list[Line]:
    """Return lines of a number: ours in the order given, the first as headline; without ours one that is missing."""
    if not groups:
        return [Line(printed, None, images, attack, missing)]
    return [Line(printed, group, images, _told(attack, group), headline=group is groups[0]) for group in groups]


def _told(attack: str, group: Group) -> str:
    row = group.first
    words = [f"{value} updates" if name == "iterations" else f"{name} = {value}" for name, value in _settings(row)]
    words += [EARLIER[kind] for kind in [row.get("layers")] if kind in EARLIER]
    return ", ".join([attack, *words, "H100" if "H100" in row["hardware"] else "CPU"])


def _settings(row: Row) -> list[tuple[str, Any]]:
    return list(row.get("settings", {}).items())


def _paper(line: Line) -> tuple[str, str, str]:
    """Return what is printed where, of how many images, and the number."""
    printed, images = line.printed, str(line.images)
    if printed is None:
        return "", images, ""
    if printed.images != line.images:
        images += f" (there {printed.images or 'not said'})"
    return f"{printed.item}, {printed.attack}", images, f"{printed.value:.4f}"


def row(line: Line) -> tuple[str, ...]:
    """Return the cells of a line that was measured."""
    group = line.group
    assert group is not None
    difference = "" if line.difference is None else f"{line.difference:+.3f}"
    strange = f" ({group.text('ssim_strangers')})" if group.values("ssim_strangers") else ""
    return (
        *_paper(line), group.text("ssim_paper"), difference, group.text("ssim") + strange,
        group.text("recovered", 0), line.attack, group.reference,
    )  # fmt: skip


def compared(lines: Iterable[Line]) -> str:
    """Return lines as Markdown: a table of what was measured, and one of what was not."""
    lines = list(lines)
    measured = [row(line) for line in lines if line.group]
    missing = [(*_paper(line), line.attack, line.missing) for line in lines if not line.group]
    tables = [table(HEAD, measured)] * bool(measured) + ["Not run:\n\n" + table(MISSING, missing)] * bool(missing)
    return "\n\n".join(tables)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))
