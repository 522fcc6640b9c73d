"""Batch size and epochs: what ties them together, and which a search should try."""

from collections.abc import Mapping

from ...attacks.contract.recipe import Recipe
from ..report.facts import ChangeFacts, Fact
from .fields import FIELDS
from .sources import assumed, inferred

BATCH_SIZES, MOST_SHAPES = (32, 16, 8), 3
"""Batch sizes that a search tries beside the first one and the full batch, and how many of all these."""


def shape(told: Mapping[str, Fact], size: int, read: ChangeFacts) -> dict[str, Fact]:
    """Return batch size and epochs; the number of steps, where it is known, ties them together."""
    batch = told.get("batch_size") or assumed("batch_size", min(size, FIELDS["batch_size"].usual))
    epochs = told.get("epochs")
    steps = told.get("steps") or read.get("steps")
    if steps is not None and not (epochs and "batch_size" in told):
        count = int(steps.number)
        if epochs:
            batches = max(1, round(count / int(epochs.number)))
            batch = _tied("batch_size", max(1, -(-size // batches)), steps)
        else:
            epochs = _tied("epochs", max(1, round(count / -(-size // int(batch.number)))), steps)
    return {"batch_size": batch, "epochs": epochs or assumed("epochs")}


def _tied(name: str, value: int, steps: Fact) -> Fact:
    return inferred(name, value, f"{steps.value} steps in all: {steps.evidence}", 0.5)


def shapes(facts: Mapping[str, Fact], recipe: Recipe, steps: int | None) -> tuple[tuple[int, int], ...]:
    """Return the (batch size, epochs) that a search should try, the likeliest first.

    Args:
        facts: Provenance by name; a batch size that was given is the only one.
        recipe: The likeliest shape.
        steps: All steps of training, where they are known: then batch size and epochs must fit them.
    """
    first = (recipe.batch_size, recipe.epochs)
    if facts["batch_size"].source == "given":
        return (first,)
    others = [size for size in (recipe.size, *BATCH_SIZES) if size <= recipe.size and size != recipe.batch_size]
    if recipe.batch_norm == "train":
        others = [size for size in others if recipe.size % size != 1]  # a batch of one has no statistics
    found = [first]
    for size in others[:MOST_SHAPES]:
        batches = -(-recipe.size // size)
        if steps is None or facts["epochs"].source == "given":
            found.append((size, recipe.epochs))
        elif steps % batches == 0:
            found.append((size, steps // batches))
    return tuple(found if steps is None or facts["epochs"].source != "given" else found[:1])
