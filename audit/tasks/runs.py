"""``memaudit runs``: which run folders there are, and deleting one with the personal data in it."""

import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from ... import MemauditError
from ..machine.lock import NAME as LOCK
from ..machine.lock import locked
from ..report.file import load
from ..report.model import ReportError
from ..report.pictures import FOLDER as PICTURES

REPORT, LOG, JOBS, DEFENCES = "report.json", "events.jsonl", "jobs", "defences"

FILES = (REPORT, "report.html", LOG, LOCK)
FOLDERS = (JOBS, str(PICTURES), "report-evidence", DEFENCES)
"""What memaudit writes into a run folder: nothing else in it is deleted."""


class RunError(MemauditError):
    """A folder that cannot be deleted, as it is no run folder."""


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        path: The folder.
        pair: Names of the two checkpoints; empty where no report says them.
        date: When its report was made, or where there is none, when it was last worked in; ISO 8601, UTC.
        verdict: That of its report; ``unfinished`` without one, ``unreadable`` where it cannot be read.
        size: Bytes of all its files.
    """

    path: str
    pair: str
    date: str
    verdict: str
    size: int


@dataclass(frozen=True)
class Deleted:
    """What is gone, and what is not.

    Attributes:
        size: Bytes that were freed.
        left: What else lies in the folder, which memaudit did not write there.
        elsewhere: Reports that the scan wrote outside of the folder, and that are still there.
    """

    size: int
    left: Sequence[str]
    elsewhere: Sequence[str]


def list_runs(place: Path) -> list[Run]:
    """Return the run folders in a folder and below, the newest first. Raises :class:`RunError` where it is not one."""
    if not place.is_dir():
        raise RunError(f"{place} is not a folder.", "Name a folder that holds run folders.")
    return sorted(map(_run, _found(place)), key=lambda run: run.date, reverse=True)


def delete(folder: Path) -> Deleted:
    """Delete what memaudit wrote into a run folder, and the folder where nothing else is in it. No link is followed.

    Raises:
        RunError: It is a link, or not a run folder.
        LockError: A process works in it.
    """
    if folder.is_symlink():
        raise RunError(f"{folder} is a link.", "Name the folder itself.")
    if not _is_run(folder):
        raise RunError(f"{folder} is not a run folder of memaudit.", "memaudit runs lists those that there are.")
    with locked(folder):
        elsewhere, before = _elsewhere(folder), _size(folder)
        for path in (folder / name for name in FOLDERS):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
        for path in (*(folder / name for name in FILES), *folder.glob(".memaudit-*.part")):
            if path.is_file() and not path.is_symlink():
                path.unlink()
    left = sorted(path.name for path in folder.iterdir())
    freed = before - _size(folder)
    if not left:
        folder.rmdir()
    return Deleted(freed, left, elsewhere)


def _found(place: Path) -> Iterator[Path]:
    for folder, below, _ in os.walk(place):
        if _is_run(Path(folder)):
            below.clear()
            yield Path(folder)


def _is_run(folder: Path) -> bool:
    """Return whether it has the lock of every run folder, and what a scan writes beside it."""
    lock = folder / LOCK
    return lock.is_file() and not lock.is_symlink() and any((folder / name).exists() for name in (LOG, REPORT))


def _run(folder: Path) -> Run:
    try:
        report = load(folder) if (folder / REPORT).exists() else None
    except ReportError:
        return Run(str(folder), "", _touched(folder), "unreadable", _size(folder))
    if report is None:
        return Run(str(folder), "", _touched(folder), "unfinished", _size(folder))
    files = report.inputs.before.path, report.inputs.after.path
    pair = " -> ".join(Path(file).name for file in files)
    return Run(str(folder), pair, report.created, report.verdict.status, _size(folder))


def _touched(folder: Path) -> str:
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _size(folder: Path) -> int:
    return sum((Path(place) / name).lstat().st_size for place, _, names in os.walk(folder) for name in names)


def _elsewhere(folder: Path) -> list[str]:
    """Return the reports that a scan wrote outside of its folder, as far as they are found from the current one."""
    try:
        words = shlex.split(load(folder).command)
    except (ReportError, ValueError):
        return []
    named = [word.partition("=")[2] for option, word in pairwise(words) if option == "-o"]
    inside = folder.resolve()
    return [path for path in named if Path(path).is_file() and not Path(path).resolve().is_relative_to(inside)]
