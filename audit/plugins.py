"""Everything that can be added to memaudit is an entry point; built-ins are found the same way as third-party ones."""

import difflib
import os
import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points

from .. import MemauditError
from .printable import printable


class PluginError(MemauditError):
    """There is no such plugin, or it cannot be imported; the message names it and what exists instead."""


def available(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group such as ``memaudit.families``, sorted by name; imports nothing."""
    found = _installed(tuple((place, _changed(place)) for place in sys.path)).select(group=group)
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}


@lru_cache(maxsize=8)
def _installed(places: tuple[tuple[str, int], ...]) -> EntryPoints:
    """Return the entry points of all packages: reading them takes tens of milliseconds, and a scan asks often."""
    found: EntryPoints = entry_points()  # type: ignore[assignment,unused-ignore]  # of 3.11
    return found


def _changed(place: str) -> int:
    try:
        return os.stat(place or ".").st_mtime_ns
    except OSError:
        return 0


def nearest(name: str, known: list[str]) -> str:
    """Return "Did you mean ...?" with the names most like ``name``; without such, up to ten of those that exist."""
    if alike := difflib.get_close_matches(name, known, n=3):
        return f"Did you mean {' or '.join(alike)}?"
    more = f" and {len(known) - 10} more" if len(known) > 10 else ""
    return f"What exists: {', '.join(known[:10]) or 'nothing'}{more}."


KINDS = {
    "memaudit.attacks": "attack", "memaudit.families": "model family", "memaudit.data": "data source",
    "memaudit.kinds": "kind of record", "memaudit.reports": "report format",
    "memaudit.diffs": "format of a comparison",
}  # fmt: skip
"""Groups of entry points, in words."""


def load(group: str, name: str) -> object:
    """Import the object behind one entry point.

    Raises:
        PluginError: No plugin of this name (the hint says which exist), or importing it failed.
    """
    entries = available(group)
    if name not in entries:
        raise PluginError(f"There is no {KINDS.get(group, group)} {name!r}.", nearest(name, list(entries)))
    try:
        return entries[name].load()
    except (Exception, SystemExit) as error:  # third-party code may fail in any way, or try to end the process
        raise PluginError(
            f"The plugin {name!r} of {group} ({entries[name].value}) cannot be imported: {one_line(error)}.",
            f"Repair or uninstall the package{_distribution(entries[name])} that brings it.",
        ) from error


def origin(group: str, name: str) -> str:
    """Return what a plugin's behaviour depends on: where it points, and the package and version that bring it."""
    entry = available(group).get(name)
    if entry is None:
        return name
    return f"{entry.value} {entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def load_all(group: str) -> tuple[dict[str, object], tuple[PluginError, ...]]:
    """Import every plugin of a group: those that work, by name, and one error for each that does not."""
    working: dict[str, object] = {}
    broken: list[PluginError] = []
    for name in available(group):
        try:
            working[name] = load(group, name)
        except PluginError as error:
            broken.append(error)
    return working, tuple(broken)


def one_line(error: BaseException) -> str:
    """Return an error's type and the first line of its text: printable, at most 200 characters, no full stop."""
    first = next(iter(str(error).strip().splitlines()), "")[:200]
    return f"{type(error).__name__}: {printable(first)}".rstrip(":. ")


def _distribution(entry: EntryPoint) -> str:
    return f" {entry.dist.name}" if entry.dist else ""
