"""What ``--context`` says to a compliance document: facts that the tool cannot know, and which of them are missing."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from importlib.resources import files
from typing import Any

from ...audit.files import FormatError
from ...audit.plugins import nearest


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)


_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ('text, such as "..."', lambda value: isinstance(value, str)),
    "texts": (
        'a list of texts, such as ["...", "..."]',
        lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    ),
    "yes_no": ("true or false", lambda value: isinstance(value, bool)),
    "number": ("a whole number that is not negative", lambda value: type(value) is int and value >= 0),
    "numbers": ("a list of whole numbers, such as [0, 3]", _numbers),
    "date": (
        "a date without quotes, such as 2027-01-31",
        lambda value: isinstance(value, date) and not isinstance(value, datetime),
    ),
}
"""How a value of each type is written, and whether something is one."""


@dataclass(frozen=True)
class Question:
    """One key that the context file may have.

    Attributes:
        key: ``section.key``.
        who: Who answers it.
        question: In one sentence.
        type: A key of the types, unless there are choices.
        choices: The only answers, if not empty.
    """

    key: str
    who: str
    question: str
    type: str = "text"
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> None:
        """Raise :class:`FormatError` where ``value`` is not an answer."""
        if self.choices:
            if value not in self.choices:
                raise FormatError(
                    f"--context: {self.key} is {value!r}, which is not one of its values.",
                    nearest(str(value), list(self.choices)),
                )
            return
        form, fits = _TYPES[self.type]
        if not fits(value):
            raise FormatError(f"--context: {self.key} is {value!r}.", f"Write it as {form}.")


def questions() -> dict[str, Question]:
    """Return every key by its dotted name, in the order of the document."""
    known = tomllib.loads(files(__package__).joinpath("dpia_context.toml").read_text(encoding="utf-8"))
    return {
        f"{section}.{key}": Question(f"{section}.{key}", **about | {"choices": tuple(about.get("choices", ()))})
        for section, keys in known.items()
        for key, about in keys.items()
    }


def answers(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the context says, by dotted key; an empty text or list says nothing.

    Raises:
        FormatError: An unknown section or key, or a value of another type; the hint names what is near.
    """
    known, found = questions(), {}
    sections = list(dict.fromkeys(key.partition(".")[0] for key in known))
    for section, content in context.items():
        if section not in sections:
            raise FormatError(f"--context: there is no section [{section}].", nearest(section, sections))
        if not isinstance(content, dict):
            raise FormatError(f"--context: {section} is not a section.", f"Write [{section}] on a line of its own.")
        for name, value in content.items():
            key = f"{section}.{name}"
            if key not in known:
                raise FormatError(f"--context: there is no key {key}.", nearest(key, list(known)))
            known[key].check(value)
            if value not in ("", []) and not (isinstance(value, str) and not value.strip()):
                found[key] = value
    return found
