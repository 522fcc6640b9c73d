"""A Markdown file in sections that are cut to a size: rows from the end, a table's head only with all of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """One part of the file: its rows may be cut from the end, its head only together with all of them."""

    title: str
    rows: Sequence[str]
    head: str = ""

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return size_of(self._start) + sum(size_of(row) + 1 for row in self.rows) + 1

    def render(self, room: int) -> tuple[str, int]:
        """Return as many rows as have room, and how many are left out; nothing where not even one has room."""
        left = room - size_of(self._start) - 1
        kept: list[str] = []
        for row in self.rows:
            left -= size_of(row) + 1
            if left < 0:
                break
            kept.append(row)
        if not kept:
            return "", len(self.rows)
        return self._start + "\n".join(kept) + "\n\n", len(self.rows) - len(kept)

    @property
    def _start(self) -> str:
        return f"## {self.title}\n\n{self.head}" if self.title else self.head


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Section:
    """Return a section that is a table."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return Section(title, lines, f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n")


def fair_share(sizes: Sequence[int], room: int) -> int:
    """Return how many bytes each may have at most, so that the small ones are whole and the rest share alike."""
    for place, size in enumerate(sorted(sizes)):
        fair = room // (len(sizes) - place)
        if size > fair:
            return fair
        room -= size
    return max(sizes, default=0)


def size_of(text: str) -> int:
    """Return the bytes of a text in a file."""
    return len(text.encode("utf-8", "backslashreplace"))
