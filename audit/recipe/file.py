"""The recipe as a TOML file: what ``memaudit infer`` prints and ``memaudit scan --recipe`` takes."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import MemauditError
from ..files import read_toml
from ..report.facts import Fact

KINDS: dict[str, tuple[type, ...]] = {
    "optimizer": (str,), "lr": (int, float), "batch_size": (int,), "epochs": (int,), "momentum": (int, float),
    "nesterov": (bool,), "weight_decay": (int, float), "schedule": (str,), "warmup": (int,), "clip": (int, float),
    "batch_norm": (str,), "size": (int,), "labels": (list,), "beta1": (int, float), "beta2": (int, float),
    "eps": (int, float), "dampening": (int, float),
}  # fmt: skip
"""Fields of the file and the types of their values."""

WORDS = {
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("constant", "linear", "cosine"),
    "batch_norm": ("train", "eval"),
}
"""Words that a field may have."""

RANGES: dict[str, tuple[float, float]] = {
    "lr": (1e-12, 1e6), "batch_size": (1, 1e9), "epochs": (1, 1e6), "momentum": (0, 0.999999), "weight_decay": (0, 1e6),
    "warmup": (0, 1e6), "clip": (0, 1e12), "size": (1, 1e6), "beta1": (0, 0.999999), "beta2": (0, 0.9999999),
    "eps": (0, 1), "dampening": (0, 1),
}  # fmt: skip

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
    if name not in KINDS:
        raise RecipeFileError(
            f"The recipe {path} has an unknown field {name[:40]!r}.", f"Known are {', '.join(KINDS)}."
        )
    shown = _shown(value)
    kinds = KINDS[name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise RecipeFileError(f"The recipe {path} has {name} = {shown}, of the wrong type.", "Correct it.")
    if name in WORDS and value not in WORDS[name]:
        raise RecipeFileError(f"The recipe {path} has {name} = {shown}.", f"Use {', '.join(WORDS[name])}.")
    low, high = RANGES.get(name, (-math.inf, math.inf))
    if isinstance(value, int | float) and not low <= value <= high:
        raise RecipeFileError(f"The recipe {path} has {name} = {shown}, out of range.", "Correct it.")
    if isinstance(value, list) and not all(type(count) is int and 0 <= count <= 10**6 for count in value):
        raise RecipeFileError(f"The recipe {path} has labels that are no counts.", "Write one number a class.")


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
    lines = ["# memaudit infer: how the model was trained, as far as its two checkpoints tell.", "[recipe]"]
    for name in KINDS:
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
