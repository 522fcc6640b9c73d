"""What one training file says: values by recipe field, not yet weighed against other files, and the place of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from .fields import FIELDS, Range

Told = dict[str, tuple[object, str]]
"""By recipe field a value, not yet judged, and the place inside the file where it stands."""

OTHER = "other"
"""An optimizer that is not simulated: whatever it calls its learning rate means something else."""

COUNTS = Range(0, 10**9, under=True)
"""What a counter of steps or epochs may say."""

STEPS = Range(1, 10**9, under=True)
"""How many steps a training may have. Steps are not a field of a recipe: they follow from batch size and epochs."""


@dataclass(frozen=True)
class Artefact:
    """What one file says.

    Attributes:
        path: Of the file.
        sure: Values to take, the most trustworthy first.
        weak: Values to take where no file says better.
        counts: Counters of steps and epochs when the file was written; they may have begun before this training.
    """

    path: Path
    sure: Sequence[Told] = ()
    weak: Told = field(default_factory=dict)
    counts: Mapping[str, object] = field(default_factory=dict)


def sound(name: str, value: object) -> bool | float | str | None:
    """Return a field's value in its own type, or ``None`` for one of a wrong type or out of range."""
    if name == "steps":
        return whole(value, STEPS)
    found = FIELDS[name]
    if found.spellings:
        other = OTHER if name == "optimizer" else None
        return found.spellings.get(value.lower().rpartition(".")[2], other) if isinstance(value, str) else None
    if found.kind is int and found.range:
        return whole(value, found.range)
    if found.complaint(value):
        return None
    return float(value) if is_number(value) else bool(value)


def whole(value: object, within: Range) -> int | None:
    """Return a number that is whole, of whatever type, or ``None``."""
    return int(value) if is_number(value) and value in within and value == int(value) else None


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a number, which a truth value is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def settings(values: object, where: str = "") -> Told:
    """Return what a flat mapping says, by the usual names of its keys."""
    if not isinstance(values, Mapping):
        return {}
    told: Told = {}
    for name, found in FIELDS.items():
        key = next((key for key in found.aliases if sound(name, values.get(key)) is not None), "")
        wrong = any(is_number(values.get(other)) and values[other] > most for other, most in found.unless.items())
        if key and not wrong:
            told[name] = (values[key], where + key)
    return told
