"""Report formats by name: which are wanted, and writing them. No torch here."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from .. import MemauditError
from . import plugins
from .report import AuditReport

GROUP = "memaudit.reports"
ALWAYS = ("json", "html")
"""Formats that every scan writes into its run folder, as ``report.FORMAT``."""

Writer = Callable[[AuditReport, Path, Path], Path]


class OutputError(MemauditError):
    """An output that cannot be written where it was asked for."""


@dataclass(frozen=True)
class Output:
    """One file to write."""

    write: Writer
    path: Path


def check_outputs(wanted: Sequence[tuple[str, str]]) -> list[Output]:
    """Find the writers of (format, path) pairs, before any work is done.

    Raises:
        PluginError: No such format.
        OutputError: The path is a folder, or lies where nothing can be written.
    """
    found = []
    for name, path in wanted:
        writer = cast(Writer, plugins.load(GROUP, name))
        if Path(path).is_dir():
            raise OutputError(f"-o {name}={path}: that is a folder.", "Name a file.")
        existing = next(parent for parent in Path(path).absolute().parents if parent.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise OutputError(f"-o {name}={path}: {existing} is not a folder that can be written.", "Name another.")
        found.append(Output(writer, Path(path)))
    return found


def parse_outputs(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Split ``FORMAT=PATH`` texts. Raises :class:`OutputError`."""
    pairs = []
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise OutputError(f"-o {text} cannot be parsed.", "Write it as FORMAT=PATH, for example html=report.html.")
        pairs.append((name, path))
    return tuple(pairs)


def write_outputs(report: AuditReport, folder: Path, wanted: Sequence[Output]) -> list[Path]:
    """Write the formats of every scan into the run folder, then the wanted ones; return all paths."""
    always = check_outputs([(name, str(folder / f"report.{name}")) for name in ALWAYS])
    return [output.write(report, folder, output.path) for output in (*always, *wanted)]
