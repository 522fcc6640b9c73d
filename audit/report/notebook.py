"""How a report shows itself in Python: in one line, as a table in a notebook, as rows, as pictures. No torch here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import MemauditError
from .exhibit import Picture, Text
from .kind import RecordKind
from .results import Dummy, Key, LeaderboardRow, Match
from .verdict import Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

SHOWN = 10
"""Rows of the leaderboard in a notebook."""

COLOURS = {"pass": "#1b7f4b", "fail": "#b3261e", "inconclusive": "#8a5a00"}


class PictureError(MemauditError):
    """A reconstruction that is not there as a picture."""


@dataclass(frozen=True)
class Reconstructed:
    """One reconstruction of a report.

    Attributes:
        dummy: What the report says of it.
        match: The training record that it was paired with; ``None`` without one.
        folder: The run folder; ``None`` where it is not known.
    """

    dummy: Dummy
    match: Match | None
    folder: Path | None

    @property
    def text(self) -> str:
        """The reconstruction as text; empty for a picture."""
        return self.dummy.exhibit.text if isinstance(self.dummy.exhibit, Text) else ""

    def picture(self) -> "Image.Image":
        """Return the picture, read from the run folder.

        Raises:
            PictureError: It is text, its file is not there, or the run folder is not known.
        """
        from .pictures import opened

        exhibit = self.dummy.exhibit
        if not isinstance(exhibit, Picture):
            raise PictureError(f"Reconstruction {self.dummy.dummy} is text.", "Use its text.")
        if self.folder is None:
            raise PictureError("This report does not know its run folder.", "Load it from there.")
        found = opened(self.folder, exhibit.path)
        if found is None:
            raise PictureError(f"There is no picture {exhibit.path} in {self.folder}.", "Scan with --evidence full.")
        return found

    def array(self) -> "NDArray[np.float32]":
        """Return the picture as (h, w) or (h, w, 3) numbers in [0, 1]. Raises :class:`PictureError`."""
        import numpy as np

        return np.asarray(self.picture(), np.float32) / np.float32(255)


def rows(board: Iterable[LeaderboardRow], names: Mapping[Key, str], kind: RecordKind) -> list[dict[str, Any]]:
    """Return the leaderboard as plain rows with the names that gates use, such as ``ssim_mean``."""
    return [{"rank": row.rank, "result": names.get(row.key, row.attack), **_flat(row, kind)} for row in board]


def _flat(row: LeaderboardRow, kind: RecordKind) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.model_dump().items():
        if name.startswith("details_"):
            found |= {f"{detail}_{name.removeprefix('details_')}": number for detail, number in value.items()}
        else:
            found[name.replace("similarity", kind.stem)] = value
    return found


def line(model: str, verdict: Verdict, board: Sequence[Mapping[str, Any]], kind: RecordKind, findings: int) -> str:
    """Return the report in one line."""
    severity = "" if verdict.severity == "none" else f" ({verdict.severity})"
    best = f"; best: {_told(board[0], kind)}" if board else ""
    counts = f"{len(board)} result{'s' * (len(board) != 1)}, {findings} finding{'s' * (findings != 1)}"
    return f"<AuditReport of {model or 'a model'}: {verdict.status}{severity}{best}; {counts}>"


def _told(row: Mapping[str, Any], kind: RecordKind) -> str:
    mean = row[f"{kind.stem}_mean"]
    told = [f"{kind.statistic} {mean:.3f}"] if mean is not None else [row["status"].replace("_", " ")]
    told += [f"recovered {row['recovered']} of {row['records']}"] if row["recovered"] is not None else []
    return f"{row['result']}, {', '.join(told)}"


def table(model: str, verdict: Verdict, board: Sequence[Mapping[str, Any]], kind: RecordKind) -> str:
    """Return the verdict and the best results as HTML; every text is escaped, and nothing is fetched."""
    heads = ("", "result", "ended", f"mean {kind.statistic}", f"best {kind.statistic}", "recovered", "loss")
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in _cells(row, kind)) for row in board[:SHOWN]]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    more = f"<p>{len(board) - SHOWN} more in <code>leaderboard</code>.</p>" if len(board) > SHOWN else ""
    severity = "" if verdict.severity == "none" else f" ({verdict.severity})"
    return (
        f'<div><p><strong style="color:{COLOURS[verdict.status]}">{verdict.status.upper()}{severity}</strong> '
        f"{escape(model)}</p><p>{escape(verdict.headline or verdict.summary)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}</div>"
    )


def _cells(row: Mapping[str, Any], kind: RecordKind) -> list[str]:
    def number(name: str, form: str) -> str:
        return "–" if row[name] is None else format(row[name], form)

    recovered = "–" if row["recovered"] is None else f"{row['recovered']} of {row['records']}"
    scores = [number(f"{kind.stem}_{end}", ".3f") for end in ("mean", "max")]
    return [str(row["rank"]), row["result"], row["status"].replace("_", " "), *scores, recovered, number("loss", ".3g")]
