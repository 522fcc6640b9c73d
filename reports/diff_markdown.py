"""A comparison of two reports as Markdown for a step summary: text from files stays text, and its size is bounded."""

from collections.abc import Sequence
from pathlib import Path

from ..audit.files import write_text
from ..audit.trend.model import Diff
from ..audit.trend.tables import METHOD, Line, Table, tables, title
from .common.sections import Section, fair_share, table
from .markdown import LIMIT, text

_TAIL = 1024
"""Bytes kept for saying what was left out."""


def write(found: Diff, destination: Path) -> Path:
    """Write the comparison as Markdown of at most :data:`.markdown.LIMIT` bytes.

    Raises:
        FormatError: The destination cannot be written.
    """
    return write_text(destination, render(found))


def render(found: Diff) -> str:
    """Return the document; what has no room is named at its end."""
    parts = [Section("", [f"# {text(title(found))}\n", text(found.sentence)])]
    parts += [part for shown in tables(found) for part in _sections(shown)]
    said, cut, room = [], [], fair_share([part.size for part in parts], LIMIT - _TAIL)
    for part in parts:
        shown, missing = part.render(room)
        said.append(shown)
        if missing:
            cut.append(f"{missing} of {len(part.rows)} rows of {part.title or 'notes'}")
    left_out = f"Left out for size: {'; '.join(cut)}. The JSON has all of it.\n" if cut else ""
    return f"{''.join(said)}{left_out}{METHOD}\n"


def _sections(shown: Table) -> list[Section]:
    """Return a table, and the sentences that belong to it."""
    found = table(shown.title, shown.columns, [_row(shown, line) for line in shown.lines])
    notes = [f"- {text(note)}" for note in shown.notes]
    if not shown.lines:
        return [Section(shown.title, notes)]
    return [found, *([Section("", notes)] if notes else [])]


def _row(shown: Table, line: Line) -> Sequence[str]:
    cells = [text(cell) for cell in shown.cells(line)]
    if "Change" not in shown.columns:
        return cells
    return [*cells, f"**{line.word}**" if line.change in ("better", "worse") else line.word]
