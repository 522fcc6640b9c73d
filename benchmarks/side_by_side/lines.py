"""Lines of the page's tables: a number of the paper, ours on the same kind of victim, and how the two differ."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .printed import Printed
from .records import Group

HEAD = (
    "paper", "images", "attack there", "SSIM there", "ours, same scoring", "difference",
    "ours, audit mode (strangers)", "recovered", "attack here", "time, memory", "record",
)  # fmt: skip


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
    words = [f"{name} {value}" for name, value in row.get("settings", {}).items()]
    words += ["earlier choice of layers"] * (row.get("layers") == "wide")
    return ", ".join([attack, *words])


def row(line: Line) -> tuple[str, ...]:
    """Return the cells of one line."""
    printed, group = line.printed, line.group
    first = printed.item if printed and line.headline else ""
    theirs = (f"{printed.value:.4f}", printed.attack) if printed else ("", "")
    images = str(line.images)
    if printed and printed.images != line.images:
        images += f" (there {printed.images or 'not said'})"
    if group is None:
        return first, images, theirs[1], theirs[0], "", "", "", "", line.attack, line.missing, ""
    difference = "" if line.difference is None else f"{line.difference:+.3f}"
    scores = [f"{value:.3f}" for value in group.values("ssim")]
    strange = [f"{value:.3f}" for value in group.values("ssim_strangers")]
    audit = ", ".join(scores) + (f" ({', '.join(strange)})" if strange else "")
    found = ", ".join(str(int(value)) for value in group.values("recovered"))
    return (first, images, theirs[1], theirs[0], group.text("ssim_paper"), difference, audit,
            found, line.attack, _cost(group), group.reference)  # fmt: skip


def _cost(group: Group) -> str:
    seconds = ", ".join(f"{value:.0f}" for value in group.values("seconds"))
    memory = group.values("peak_memory_bytes")
    where = "H100" if "H100" in group.first["hardware"] else group.first["hardware"].rpartition(", ")[2]
    return (
        f"{seconds} s, " + (f"{max(memory) / 1e9:.2f} GB, " if memory else "") + where.replace("1 threads", "1 thread")
    )


def compared(lines: Iterable[Line]) -> str:
    """Return lines as a Markdown table."""
    return table(HEAD, [row(line) for line in lines])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))
