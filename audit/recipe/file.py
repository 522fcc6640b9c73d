"""The recipe as a TOML file: what ``memaudit infer`` prints and ``memaudit scan --recipe`` takes."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import MemauditError
from ..files import read_toml
from ..report.facts import Fact
from .fields import FIELDS

FILED = tuple(name for name, field in FIELDS.items() if field.simulated)
"""The fields of the file."""

COMMENT = 80
"""Characters of the evidence that a comment holds; the report has all of it."""


class RecipeFileError(MemauditError):
    """The recipe file cannot be used; the message names the field."""


def load(path: Path) -> dict[str, Any]:
    """Return the fields of a recipe file.

    Raises:
        RecipeFileError: Missing, not TOML, without a ``[recipe]`` table, or with a field that is unknown or wrong.
    """
    hint = "memaudit infer BEFORE AFTER prints such a file."
    content = read_toml(path, "The recipe", RecipeFileError, hint)
    table = content.get("recipe")
    if not isinstance(table, dict):
        raise RecipeFileError(f"The recipe {path} has no [recipe] table.", hint)
    for name, value in table.items():
        _check(path, name, value)
    return table


def _check(path: Path, name: str, value: Any) -> None:
    if name not in FILED:
        raise RecipeFileError(
            f"The recipe {path} has an unknown field {name[:40]!r}.", f"Known fields: {', '.join(FILED)}."
        )
    if wrong := FIELDS[name].complaint(value):
        raise RecipeFileError(f"The recipe {path} has {name} = {_shown(value)}, which {wrong[0]}.", wrong[1])


def _shown(value: Any) -> str:
    try:
        return repr(value)[:40]
    except ValueError:  # more digits than Python prints
        return "a number of thousands of digits"


def dump(facts: Mapping[str, Fact]) -> str:
    """Return a recipe file: every field that a scan takes, with its provenance as a comment.

    What is assumed, and label counts that were not given, are commented out: a scan then does what it would do
    without the file. A field that is not commented out counts as given.
    """
    lines = ["# memaudit infer: how the model was trained, as far as its two checkpoints show.", "[recipe]"]
    for name in FILED:
        fact = facts.get(name)
        if fact is None or fact.value is None:
            continue
        words = ", ".join(part for part in (fact.source, _sureness(fact), fact.evidence[:COMMENT]) if part)
        guess = "# " if fact.source == "assumed" or (name == "labels" and fact.source != "given") else ""
        comment = "".join(c if c.isprintable() else "?" for c in " ".join(words.split()))
        lines.append(f"{guess}{name} = {_toml(fact.value)}  # {comment}")
    return "\n".join(lines) + "\n"


def _sureness(fact: Fact) -> str:
    sure = "" if fact.confidence is None else f"confidence {fact.confidence:.0%}"
    low, high = fact.interval or (None, None)
    if low is None or high is None:
        return sure
    return f"{sure} between {low:.4g} and {high:.4g}".strip()


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) and "." in f"{value:.6g}" else repr(value)
    return str(list(value)) if isinstance(value, list | tuple) else str(value)
