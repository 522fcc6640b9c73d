"""A training simulated in fewer, longer steps: all that the first updates of an attack need, in a part of the time."""

from dataclasses import replace

from ..contract.recipe import Recipe

STRETCH = 4
"""A coarse simulation takes steps at most this many times as long as the real ones: longer ones are not stable."""


def coarser(recipe: Recipe, epochs: int) -> Recipe:
    """Return a training of about so many epochs that travels as far, in steps at most :data:`STRETCH` times as long."""
    epochs = max(epochs, -(-recipe.epochs // STRETCH))
    short = replace(recipe, epochs=epochs, warmup=recipe.warmup * epochs // recipe.epochs)
    return replace(short, lr=recipe.lr * recipe.travel / short.travel)


def early(recipe: Recipe, epochs: int, done: float) -> bool:
    """Return whether an attack of which this share is done looks at so many epochs of SGD, its training having more.

    Steps of Adam are as long as their rate says, and its moments count them: longer ones are another training.
    """
    return recipe.optimizer == "sgd" and 0 < epochs < recipe.epochs and done < 0.5


def slowdown(recipe: Recipe, epochs: int) -> float:
    """Return how much longer an update takes on average than the first half of them, which simulate fewer epochs."""
    return (1 + recipe.epochs / coarser(recipe, epochs).epochs) / 2
