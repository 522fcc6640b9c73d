"""A field's value as a fact: given, inferred or assumed, with the option that replaces it."""

from typing import Any, TypeVar

from ..report.facts import Fact, Value
from .fields import FIELDS

T = TypeVar("T", bound=Value)


def given(name: str, value: T, evidence: str = "") -> Fact[T]:
    """Return what the user, or a file beside the checkpoint, says of a field."""
    return Fact(value=value, source="given", option=FIELDS[name].option, evidence=evidence)


def inferred(name: str, value: T, evidence: str, confidence: float | None = 1.0) -> Fact[T]:
    """Return what the two checkpoints show of a field, with the probability that it is right."""
    return Fact(value=value, source="inferred", option=FIELDS[name].option, confidence=confidence, evidence=evidence)


def assumed(name: str, value: Any = None, evidence: str = "") -> Fact:
    """Return what is assumed of a field, and why; what is usual by default."""
    field = FIELDS[name]
    return Fact(
        value=field.usual if value is None else value,
        source="assumed",
        option=field.option,
        evidence=evidence or field.why,
    )


def read_off(name: str, fact: Fact[T]) -> Fact[T]:
    """Return a reading of the change as a fact of a field."""
    return fact.model_copy(update={"option": FIELDS[name].option})
