"""A training simulated in fewer, longer steps: all that the first updates of an attack need, in a part of the time."""

from dataclasses import replace

from ..contract.recipe import Recipe

STRETCH = 4
"""A coarse simulation takes steps at most this many times as long as the real ones: longer ones are not stable."""

STAGES = ((0.5, 1), (0.8, 2))
"""Until each share of its schedule an attack simulates the fewest epochs so many times; after the last one, all."""


def staged(recipe: Recipe, epochs: int, done: float) -> Recipe:
    """Return the training that an attack simulates up to a share of its schedule: first ``epochs`` of SGD, then more.

    It is ``recipe`` itself at the end (``done`` is 1), and where that has no more epochs. Steps of Adam are as long as
    their rate says, and its moments count them: longer ones are another training. A run that is cut short before its
    last fifth has the loss of a coarse one. Running statistics of batch norm must be stretched as well
    (:func:`.batchnorm.stretched`).
    """
    times = next((times for share, times in STAGES if done < share), 0)
    wanted = times * _fewest(recipe, epochs)
    return coarser(recipe, wanted) if recipe.optimizer == "sgd" and 0 < wanted < recipe.epochs else recipe


def coarser(recipe: Recipe, epochs: int) -> Recipe:
    """Return a training of about so many epochs that travels as far, in steps at most :data:`STRETCH` times as long."""
    epochs = _fewest(recipe, epochs)
    short = replace(recipe, epochs=epochs, warmup=recipe.warmup * epochs // recipe.epochs)
    return replace(short, lr=recipe.lr * recipe.travel / short.travel)


def slowdown(recipe: Recipe, epochs: int) -> float:
    """Return how much longer an update takes on average than the first ones, which simulate fewer epochs."""
    shares = [share for share, _ in STAGES]
    ranges = zip([0.0, *shares], [*shares, 1.0], strict=True)
    parts = [(end - start) * staged(recipe, epochs, start).epochs for start, end in ranges]
    return sum(parts) / staged(recipe, epochs, 0.0).epochs


def _fewest(recipe: Recipe, epochs: int) -> int:
    return max(epochs, -(-recipe.epochs // STRETCH)) if epochs else 0
