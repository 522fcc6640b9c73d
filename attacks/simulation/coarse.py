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
