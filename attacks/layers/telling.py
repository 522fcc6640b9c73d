"""Which layers' changes tell records apart."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..contract.attack import Unsupported, generator
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from .coverage import Directions, cover, directions
from .inputs import Layer, middle, trained
from .rounding import noise, stored
from .seen import seen_of

APART = 5e-3
"""A layer tells records apart if as many of the wrong ones leave at least this share of its change uncovered."""

BOUNDED = 0.75
"""Single records are compared with what a change spans where that is at most this share of the layer's outputs."""

COARSEST = 8
"""The noise that stands for wrong images has one number for each square of this many pixels, and finer ones."""

FASTEST = 3e-3
"""Largest sum of Adam's learning rates: beyond it every number moved by about as much, and no span is left."""


@dataclass(frozen=True)
class Span(Directions):
    """What a layer's change spans.

    Attributes:
        bounded: That is less than everything, so that a single record can lie outside of it.
    """

    bounded: bool = False


def spanning(recipe: Recipe) -> None:
    """Refuse an optimiser that leaves no span. Raises :class:`.Unsupported`."""
    if recipe.optimizer != "sgd" and (math.isnan(recipe.lr) or recipe.travel > FASTEST):
        raise Unsupported(
            f"{recipe.optimizer} moved every number by up to {recipe.travel:.2g}, which leaves no span of the inputs.",
            f"Up to a sum of learning rates of {FASTEST:g} its strongest directions still show it.",
        )


def candidates(victim: Victim, count: int) -> list[Layer]:
    """Return the convolutions that may tell ``count`` records apart, by their counts alone.

    One record does not fill the outputs, nor all of them what the layer can see. Linear layers on tokens are left out:
    sequences have more freedom than patches, and wrong ones cover as well.
    """
    layers = trained(victim, likely(victim, 2))
    return [layer for layer in layers if layer.kernel and 1 < layer.positions < layer.units and _roomy(layer, count)]


def telling(
    victim: Victim, change: Mapping[str, Tensor], count: int, power: float, spare: float, filled: bool = True
) -> list[tuple[Layer, Span]]:
    """Return the layers whose change tells ``count`` records apart, in the order in which they run, and their spans.

    Args:
        victim: The network.
        change: Of its parameters, decay undone.
        count: How many records there are.
        power: As in :func:`.coverage.directions`.
        spare: How many directions are kept for each row.
        filled: Whether a layer needs as many outputs as there are records; fewer still compare given records.
    """
    x = likely(victim, count)
    layers = [layer for layer in trained(victim, x[:2]) if _roomy(layer, count, filled)]
    found = []
    with torch.no_grad():
        seen = seen_of(victim, middle(victim), x, [layer.place for layer in layers])
        for layer in layers:
            wanted = round(spare * count * layer.positions)
            try:
                whole = directions(layer.matrix(change), _noise(victim, layer), power, wanted)
            except ValueError:
                continue
            wrong = float(cover(seen[layer.place], whole.weighted))
            if wrong >= APART:
                alone = count == 1 and layer.positions <= layer.units  # it has the whole span to itself
                found.append((layer, Span(whole.weighted, whole.kept, alone or wanted <= BOUNDED * layer.units)))
    return found


def _roomy(layer: Layer, count: int, filled: bool = True) -> bool:
    """Return whether records leave a part of what a layer can see, and its change can span all of them."""
    return layer.positions * count < layer.width and (layer.units >= count or not filled)


def likely(victim: Victim, count: int) -> Tensor:
    """Return wrong records (count, ...): noise as strong as inputs are, and of images with more in coarse scales."""
    gen = generator(0)
    white = torch.randn(count, *victim.shape, generator=gen)
    if len(victim.shape) == 3 and min(victim.shape[1:]) >= COARSEST:
        height, width = victim.shape[1:]
        for factor in (2, 4, COARSEST):
            coarse = torch.randn(count, victim.shape[0], height // factor, width // factor, generator=gen)
            white = white / 2 + interpolate(coarse, size=(height, width), mode="bilinear")
        white = white / white.std()
    return white.to(victim.like)


def _noise(victim: Victim, layer: Layer) -> float:
    sides = [layer.matrix(params) for params in (victim.theta0, victim.thetaf)]
    return noise(sides, [stored(side) for side in sides])
