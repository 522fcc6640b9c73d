"""What only people can say: their answers in the document, and the questions that are left open."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from markupsafe import Markup

from ...audit import words
from ...audit.files import FormatError
from ...audit.report.results import BestMatch
from .context import questions
from .page import escape

_TAGS = ("assessment.identifiable", "assessment.not_identifiable")
"""Keys that are only asked for where a record is affected."""


class Open(NamedTuple):
    """A question that only a person can answer, and that is still open."""

    key: str
    who: str
    question: str


def fact(told: dict[str, Any], key: str) -> Markup:
    """Return what the context says, or the mark of an open point."""
    value = told.get(key)
    if value is None:
        question = questions()[key]
        return Markup(f"**\\[open: {question.who} / {escape(key)}\\]**")  # noqa: S704 - Markdown, from our own file
    if isinstance(value, date):
        return Markup(value.isoformat())  # noqa: S704 - digits
    return Markup(escape(", ".join(map(str, value)) if isinstance(value, list) else words.plain(value)))  # noqa: S704


def open_points(told: dict[str, Any], affected: Sequence[BestMatch]) -> list[Open]:
    """Return what the context leaves open; which records show a person is one question, open while one is untagged.

    Raises:
        FormatError: A tag is of a record that is not affected, or both tags are of the same.
    """
    yes, no = (set(told.get(key, ())) for key in _TAGS)
    samples = {best.match.sample for best in affected}
    if wrong := sorted((yes | no) - samples):
        raise FormatError(
            f"--context: record {wrong[0]} is tagged, but not affected.", "Section 9 lists those that are."
        )
    if both := sorted(yes & no):
        raise FormatError(f"--context: record {both[0]} is in {_TAGS[0]} and in {_TAGS[1]}.", "Name it once.")
    left = {key for key in questions() if key not in told} - set(_TAGS)
    left |= {_TAGS[0]} if samples - yes - no else set()
    return [Open(about.key, about.who, about.question) for about in questions().values() if about.key in left]


def tag(told: dict[str, Any], best: BestMatch) -> Markup:
    """Return whether a record shows a person, as the context says, or the mark of an open point."""
    for key, word in zip(_TAGS, ("yes", "no"), strict=True):
        if best.match.sample in told.get(key, ()):
            return Markup(word)  # noqa: S704 - a word of ours
    return fact({}, _TAGS[0])
