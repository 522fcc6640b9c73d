"""Attacks from their names and ``ATTACK.OPTION=VALUE`` settings; an attack's options are its dataclass fields."""

import dataclasses
import math
import typing
from collections.abc import Sequence
from typing import Any

from ... import MemauditError
from ...attacks.contract.attack import MAX_TOLERANCE, Attack
from .. import plugins
from .cards import GROUP


class OptionError(MemauditError):
    """A setting that no chosen attack has, or a value that it cannot take."""


def build(names: Sequence[str], settings: Sequence[str], max_iterations: int | None = None) -> list[Attack]:
    """Return the named attacks with their settings applied.

    Args:
        names: Registered attack names; each once.
        settings: ``ATTACK.OPTION=VALUE`` each.
        max_iterations: Shortens the schedule of attacks that have a longer one.

    Raises:
        PluginError: An attack that is not registered.
        OptionError: A malformed setting, an option or attack that is not there, a value of the wrong type or range.
    """
    chosen = {name: _parse(name, settings) for name in names}
    for setting in settings:
        if (attack := attack_of(setting)) not in chosen:
            raise OptionError(
                f"--set {setting} is for attack '{attack}', which is not run.", f"Running: {', '.join(chosen)}."
            )
    return [_construct(name, options, max_iterations) for name, options in chosen.items()]


def attack_of(setting: str) -> str:
    """Return the attack that ``ATTACK.OPTION=VALUE`` is for. Raises :class:`OptionError` for any other form."""
    path, equals, _ = setting.partition("=")
    attack, dot, _ = path.strip().partition(".")
    if not (equals and dot):
        raise OptionError(f"--set {setting} cannot be parsed.", "Write it as ATTACK.OPTION=VALUE.")
    return attack


def fields(name: str) -> list[tuple[str, str, Any]]:
    """Return (option, type in words, default) of an attack's options."""
    attack = _type(name)
    types = typing.get_type_hints(attack)
    return [(field.name, _words(types[field.name]), field.default) for field in dataclasses.fields(attack)]


def _type(name: str) -> Any:
    return plugins.load(GROUP, name)


def _parse(name: str, settings: Sequence[str]) -> dict[str, Any]:
    attack = _type(name)
    names = {field.name for field in dataclasses.fields(attack)}
    types = {field: hint for field, hint in typing.get_type_hints(attack).items() if field in names}
    options: dict[str, Any] = {}
    for setting in settings:
        if attack_of(setting) != name:
            continue
        path, _, text = setting.partition("=")
        option = path.strip().partition(".")[2]
        if option not in types:
            raise OptionError(
                f"--set {setting}: attack '{name}' has no option '{option}'.", plugins.nearest(option, list(types))
            )
        options[option] = _value(setting, text.strip(), types[option])
    return options


def _value(setting: str, text: str, kind: Any) -> Any:
    choices = {str(choice): choice for choice in typing.get_args(kind)}  # of a Literal
    try:
        if kind is int or kind is float:
            value = kind(text)
            if not math.isfinite(value):
                raise ValueError
            return value
        if kind is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if text in choices:
            return choices[text]
        raise ValueError
    except (ValueError, OverflowError):
        raise OptionError(
            f"--set {setting[:80]}: '{text[:40]}' is not {_words(kind)}.", "Give a value of that kind."
        ) from None


def _words(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, str(kind))


def _construct(name: str, options: dict[str, Any], max_iterations: int | None) -> Attack:
    try:
        attack: Attack = _type(name)(**options)
        if attack.tolerance > MAX_TOLERANCE:
            raise ValueError(f"tolerance must be at most {MAX_TOLERANCE}")
        if max_iterations is not None and attack.iterations > max_iterations:
            attack = dataclasses.replace(attack, iterations=max_iterations)
    except ValueError as error:
        raise OptionError(f"Attack '{name}': {error}.", "Change it with --set.") from None
    return attack
