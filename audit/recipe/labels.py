"""How many samples each class has, where the user says it."""

from collections.abc import Mapping

import torch

from ..data.base import TrainingSet
from ..families.base import Architecture
from ..report.facts import Fact
from .fields import RecipeError
from .given import Given
from .sources import given


def labels(
    said: Given, told: Mapping[str, Fact], architecture: Architecture, data: TrainingSet | None, size: int
) -> Fact | None:
    """Return the counts of all classes that were given; they sum to ``size``.

    Raises:
        RecipeError: Counts that cannot be parsed, or that fit neither ``size`` nor the network's classes.
    """
    fact = _fact(said.labels, told, architecture, data)
    if fact is None:
        return None
    counts = [int(count) for count in fact.value] if isinstance(fact.value, list) else []
    if len(counts) != architecture.categories or sum(counts) != size:
        raise RecipeError(
            f"--labels count {sum(counts)} samples in {len(counts)} classes; the training set has {size} and the "
            f"network {architecture.categories}.",
            "Make them agree, or give --size.",
        )
    return fact


def _fact(
    text: str | None, told: Mapping[str, Fact], architecture: Architecture, data: TrainingSet | None
) -> Fact | None:
    if text is None:
        return told.get("labels")
    if text != "data":
        return given("labels", _counts(text, architecture.categories))
    if data is None or bool((data.labels < 0).any()):
        raise RecipeError("--labels data needs a --data with labels.", "Give counts as CLASS:COUNT,... instead.")
    counts = torch.bincount(data.labels, minlength=architecture.categories).tolist()
    return given("labels", counts, "the labels of --data")


def _counts(text: str, classes: int) -> list[int]:
    counts = [0] * classes
    try:
        for part in text.split(","):
            label, _, count = part.partition(":")
            if int(label) < 0 or int(count) < 0:
                raise ValueError
            counts[int(label)] += int(count)
    except (ValueError, IndexError):
        raise RecipeError(
            f"--labels {text[:60]} are not counts of {classes} classes.", "Write CLASS:COUNT,... such as 0:4,3:1."
        ) from None
    return counts
