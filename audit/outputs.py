"""Report formats by name: which ones to write, and writing them. No torch here."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from .. import MemauditError
from . import plugins
from .files import read_toml, refuse_links, shown
from .report.model import AuditReport
from .report.terms import Evidence
from .trend.model import Diff

GROUP = "memaudit.reports"
DIFFS = "memaudit.diffs"
"""Formats of a comparison of two reports."""

ALWAYS = ("json", "html")
"""Formats that every scan writes into its run folder, as ``report.FORMAT``."""


@dataclass(frozen=True)
class Look:
    """How a report is to be shown, whatever its format.

    Attributes:
        evidence: ``full`` shows pictures, ``blurred`` only after a click or unrecognisably, ``none`` leaves them out.
        context: Facts that the tool cannot know, for compliance documents; sections of key and value.
    """

    evidence: Evidence = "full"
    context: Mapping[str, Any] = field(default_factory=dict)


Writer = Callable[[AuditReport, Path, Path, Look], Path]
"""Writes the report of a run folder to a destination and returns that."""

DiffWriter = Callable[[Diff, Path], Path]
"""Writes a comparison of two reports to a destination and returns that."""


class OutputError(MemauditError):
    """An output that cannot be written where it was asked for."""


@dataclass(frozen=True)
class Format:
    """A format that knows before any work is done when it cannot be written; a bare writer stands for one that can.

    Attributes:
        write: The writer.
        check: Raises :class:`memaudit.MemauditError` for a look that it cannot have, or where a library is missing.
    """

    write: Writer
    check: Callable[[Look], None]


@dataclass(frozen=True)
class Output:
    """One file to write; ``data`` is for programs, which get every text as it is."""

    write: Writer
    path: Path
    data: bool = False


def check_outputs(wanted: Sequence[tuple[str, str]], look: Look = Look(), group: str = GROUP) -> list[Output]:
    """Find the writers of (format, path) pairs, before any work is done.

    Raises:
        PluginError: No such format.
        FormatError: There is a link in the path.
        OutputError: The path is a folder or that of another output, or lies where nothing can be written.
        MemauditError: A format cannot be written with this look, or on this machine.
    """
    found: dict[str, Output] = {}
    for name, path in wanted:
        writer = plugins.load(group, name)
        refuse_links(Path(path))
        if Path(path).is_dir():
            raise OutputError(f"-o {name}={path}: that is a folder.", "Name a file.")
        existing = next(parent for parent in Path(path).absolute().parents if parent.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise OutputError(f"-o {name}={path}: {shown(existing)} is no folder that can be written.", "Name another.")
        place = os.path.realpath(path)
        if place in found:
            raise OutputError(f"-o {name}={path}: another output has this path.", "Name another file.")
        if isinstance(writer, Format):
            writer.check(look)
            writer = writer.write
        found[place] = Output(cast(Writer, writer), Path(path), data=name == "json")
    return list(found.values())


def read_context(path: str | Path | None) -> dict[str, Any]:
    """Read facts for compliance documents from a TOML file; none where no file is given.

    Raises:
        OutputError: The file cannot be read, or is not TOML.
    """
    if path is None:
        return {}
    return read_toml(Path(path), "--context", OutputError, "Name a file with sections of KEY = VALUE.")


def write_outputs(report: AuditReport, folder: Path, wanted: Sequence[Output], look: Look = Look()) -> list[Path]:
    """Write the formats of every scan into the run folder, then the wanted ones; return all paths.

    Without pictures, training images have numbers in place of their names.

    Raises:
        MemauditError: One could not be written; all others were.
    """
    always = check_outputs([(name, str(folder / f"report.{name}")) for name in ALWAYS])
    return write_each(report, folder, [*always, *wanted], look)


def write_each(report: AuditReport, folder: Path, wanted: Sequence[Output], look: Look) -> list[Path]:
    """Write outputs; see :func:`write_outputs`."""
    shown = report.nameless() if look.evidence == "none" else report
    readable = shown.printable()
    return _each(wanted, lambda one: one.write(shown if one.data else readable, folder, one.path, look))


def write_diff(found: Diff, wanted: Sequence[Output]) -> list[Path]:
    """Write a comparison in formats of :data:`DIFFS`; return all paths.

    Raises:
        MemauditError: One could not be written; all others were.
    """
    readable = found.printable()
    return _each(wanted, lambda one: cast(DiffWriter, one.write)(found if one.data else readable, one.path))


def _each(wanted: Sequence[Output], write: Callable[[Output], Path]) -> list[Path]:
    """Write every output, also where another one could not be written."""
    paths: list[Path] = []
    failures: list[MemauditError] = []
    for output in wanted:
        try:
            paths.append(write(output))
        except MemauditError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return paths
