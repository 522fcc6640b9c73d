"""The command line of a finished scan, changed: what to run next. No torch here."""

import shlex
from collections.abc import Mapping, Sequence

from ..report.model import AuditReport

SCAN_ONLY = {"--fail-if": 1, "--fail-on": 1, "-o": 1}
"""Options of a scan that its measurements do not depend on, and how many words follow each."""

READING = {
    **dict.fromkeys(("--model", "--key", "--image-size", "--normalise", "--exif", "--preprocess"), 1),
    "--skip-unreadable": 0,
}
"""Options that say how files are read, which every command on a pair takes, and how many words follow each."""


def scan_words(report: AuditReport) -> list[str]:
    """Return the scan's command line without what only its gates and files depend on; empty where it was no scan."""
    try:
        words = shlex.split(report.command)
    except ValueError:  # a report from a stranger, with an open quote
        return []
    return without(words, SCAN_ONLY) if words[:2] == ["memaudit", "scan"] else []


def without(words: Sequence[str], options: Mapping[str, int]) -> list[str]:
    """Return the words without some options and what follows them."""
    kept, skip = [], 0
    for word in words:
        if skip:
            skip -= 1
        elif word in options:
            skip = options[word]
        else:
            kept.append(word)
    return kept


def again(report: AuditReport, less: Mapping[str, int], *more: str) -> str:
    """Return the scan's command line with some options left out and others added; empty where it was no scan."""
    words = scan_words(report)
    return shlex.join([*without(words, less), *more]) if words else ""


def of_pair(report: AuditReport, *command: str) -> str:
    """Return a command on the same two checkpoints, with the same data, all read as the scan read them."""
    found = [*command, report.inputs.before.path, report.inputs.after.path]
    data = ["--data", report.inputs.data.path] if report.inputs.data else []
    return shlex.join(["memaudit", *found, *data, *_reading(scan_words(report))])


def _reading(words: Sequence[str]) -> list[str]:
    """Return those options of a scan, with their values, that say how files are read."""
    kept: list[str] = []
    for place, word in enumerate(words):
        if word in READING:
            kept += words[place : place + 1 + READING[word]]
    return kept
