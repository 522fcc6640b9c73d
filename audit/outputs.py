"""Report formats by name: which are wanted, and writing them. No torch here."""

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from .. import MemauditError
from . import plugins
from .report import AuditReport

GROUP = "memaudit.reports"
ALWAYS = ("json", "html")
"""Formats that every scan writes into its run folder, as ``report.FORMAT``."""

Evidence = Literal["full", "blurred", "none"]


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


def read_context(path: str | Path | None) -> dict[str, Any]:
    """Read facts for compliance documents from a TOML file; none where no file is given.

    Raises:
        OutputError: The file cannot be read, or is no TOML.
    """
    if path is None:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"--context {path} cannot be read ({error.strerror}).", "Name a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OutputError(
            f"--context {path} is no TOML file ({error}).", "Write it as sections of KEY = VALUE."
        ) from None


def write_outputs(report: AuditReport, folder: Path, wanted: Sequence[Output], look: Look = Look()) -> list[Path]:
    """Write the formats of every scan into the run folder, then the wanted ones; return all paths."""
    always = check_outputs([(name, str(folder / f"report.{name}")) for name in ALWAYS])
    return [output.write(report, folder, output.path, look) for output in (*always, *wanted)]
