"""One option that files and variables can set, and the values that it takes. No torch here."""

import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .. import MemauditError
from .printable import printable as shown

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class ConfigError(MemauditError):
    """A configuration file or variable that cannot be used; the message names it and the key."""


@dataclass(frozen=True)
class Option:
    """One option that can be configured.

    Attributes:
        key: Its long name without dashes in front.
        kind: Type of its value, or of each of its values.
        many: Whether it can be given several times.
        form: How its value is written, where that is more than its type.
        default: Its value where none is given.
        commands: Commands that have it, and what their functions call it.
        read: What makes its value of a text or a number, where that is more than its type; raises :class:`ValueError`.
    """

    key: str
    kind: Any
    many: bool
    form: str | None
    default: Any
    commands: Mapping[str, str]
    read: Callable[[Any], Any] | None = None

    def parsed(self, text: str) -> Any:
        """Return a text as the type that is wanted where it can be read as one."""
        if self.read:
            return text
        if self.kind is bool and text.lower() in (*_YES, *_NO):
            return text.lower() in _YES
        if self.kind in (int, float):
            try:
                return self.kind(text)
            except ValueError:
                return text
        return text

    def checked(self, value: Any, where: str) -> Any:
        """Return a value in the option's own type. Raises :class:`ConfigError`; ``where`` names it."""
        if self.many:
            if isinstance(value, list) and all(_fits(self.kind, item) for item in value):
                return [_cast(self.kind, item) for item in value]
            raise ConfigError(f"{where} must be a list of {_words(self.kind, many=True)}.", "Write it as [..., ...].")
        if self.read:
            try:
                return self.read(value)
            except ValueError as error:
                raise ConfigError(f"{where}: {printable(str(error), 200)}.", "Correct it.") from None
        if not _fits(self.kind, value):
            shown = printable(repr(value) if isinstance(value, str) else str(value))
            form = f", written as {self.form}" if self.form else ""
            raise ConfigError(f"{where} must be {_words(self.kind)}{form}, and is {shown}.", "Correct it.")
        return _cast(self.kind, value)


def _fits(kind: Any, value: Any) -> bool:
    if choices := _choices(kind):
        return value in choices
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, int)
    if kind is float:
        return isinstance(value, float) or (isinstance(value, int) and abs(value) < sys.float_info.max)
    return isinstance(value, int) or (isinstance(value, str) and "\0" not in value)


def _cast(kind: Any, value: Any) -> Any:
    if kind is float:
        return float(value)
    return value if _choices(kind) or kind in (bool, int) else str(value)


def _choices(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()


def _words(kind: Any, many: bool = False) -> str:
    if choices := _choices(kind):
        return "one of " + ", ".join(map(str, choices))
    if many:
        return {int: "whole numbers", float: "numbers"}.get(kind, "texts")
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a text")


def printable(text: str, limit: int = 80) -> str:
    """Return the beginning of a text, with escapes for what does not print."""
    return shown(text, limit)
