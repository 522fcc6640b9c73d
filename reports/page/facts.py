"""What is known of the training, row by row."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...audit.recipe.fields import FIELDS
from ...audit.report.facts import Fact, TensorReading
from ...audit.report.kind import Words
from ...audit.words import LISTED, NOTHING, count, number, plain

_NAMES = {
    **{name: field.title for name, field in FIELDS.items()},
    "signal": "Change over rounding",
    "frozen": "Frozen tensors",
    "travel": "Sum of the learning rates",
    "weight_decay_factor": "Shrinkage by weight decay",
    "steps": "Training steps",
    "tokens_seen": "Different tokens that training saw",
    "length": "Longest sequence, in tokens",
    "sequences_at_least": "Training {many}, at least",
    "ladders": "Layers that look made to store inputs",
    "feasibility": "Parameters per unknown number",
    "linearity": "Linearity of the training",
}
"""Names of facts; others are their own name, spaced. Their gaps are for the words of the records."""


class Row(NamedTuple):
    """One fact as it is printed."""

    name: str
    value: str
    interval: str
    fact: Fact


def rows(facts: Mapping[str, Fact], words: Words) -> list[Row]:
    """Return the facts as people write them, with as many digits as tell the ends of the interval apart."""
    found, gaps = [], {"many": words.many, "Many": words.many.capitalize()}
    for name, fact in facts.items():
        low, high = fact.interval or (0.0, 0.0)
        both = low is not None and high is not None
        digits = next((n for n in range(4, 12) if both and f"{low:.{n}g}" != f"{high:.{n}g}"), 4)
        value = number(fact.value, digits) if isinstance(fact.value, float) else plain(fact.value)
        found.append(
            Row(
                _NAMES.get(name, name.replace("_", " ").capitalize()).format(**gaps),
                counts(fact.value) if name == "labels" else value,
                f"{_end(low, digits)} to {_end(high, digits)}" if low != high else "",
                fact,
            )
        )
    return found


def counts(value: Any) -> str:
    """Return the number of records of each class, of many classes in summary."""
    if not isinstance(value, list) or len(value) <= LISTED or not all(isinstance(item, int) for item in value):
        return plain(value)
    return f"{min(value)} to {max(value)} in each of {len(value)} classes, {sum(value)} in all"


def census(tensors: list[TensorReading]) -> str:
    """Return how many tensors moved and how many did not: ``62 tensors: 58 moved, 4 frozen, 0 mostly rounding``."""
    words = {"moved": "moved", "decayed": "only decayed", "frozen": "frozen", "rounding": "mostly rounding"}
    found = Counter[str](tensor.status for tensor in tensors)
    parts = [f"{found[name]} {words[name]}" for name in words if found[name] or name != "decayed"]
    return f"{count(len(tensors), 'tensor')}: {', '.join(parts)}"


def _end(value: float | None, digits: int) -> str:
    if value is None:
        return NOTHING
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e9 else number(value, digits)
