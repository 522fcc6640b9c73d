"""Patches: a vision transformer's position embedding tells which signal each patch got, and so shows the image."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from .contract.attack import Reconstruction, State, Unsupported, require
from .contract.card import Card, Sight
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain.inversion import only_label
from .layers.alone import Change, patches_of, smoothed, undone
from .layers.patching import Patching, patching
from .layers.rounding import noise, stored
from .optimise.descent import best, reconstruction

TOLD = 0.9
"""A low loss is evidence for an image of which the changes tell this share, at least; the rest is made smooth."""

CLEAR = 0.1
"""And whose error, as noise makes it, is at most this, beside a spread of inputs of about 1."""

ROUNDINGS = 4.0
"""Roundings of one step that a training is taken to add up to, where nothing is left over that shows them."""


def _joins(sight: Sight) -> tuple[bool, str]:
    if sight.patched:
        return True, f"each patch got the signal of its place, which shows a single image exactly; {sight.samples}"
    return False, "needs a vision transformer whose patch embedding and table of positions were trained, by SGD"


@dataclass(frozen=True)
class Patches:
    """The image of a vision transformer's training, from the changes of patch and position embedding.

    A patch is embedded as ``W p_l + b + E_l``, so that all training adds ``signal_l p_l^T`` to W and ``signal_l`` to
    row l of the table E: least squares give all patches of a single image, whatever the labels, loss, head, steps,
    momentum, schedule and weight decay of SGD were (docs/decisions/0015-patches.md). Lu et al. (CVPR 2022) have this
    for one gradient. The loss is what is left over, where 1 is what chance leaves: it tells whether there was one
    image. Where the table has more places than numbers in a row, or noise hides some, what is not told of the image is
    chosen to be smooth.

    Attributes:
        iterations: Steps of the schedule; one image takes one.
        tolerance: The attack counts as converged when its loss is at most this.
    """

    name: ClassVar[str] = "patches"
    card: ClassVar[Card] = Card(
        goal="The training image of a vision transformer, exactly, where there was one.",
        knowledge="That training was SGD. No labels, no recipe, no head.",
        source="memaudit, after Lu et al., CVPR 2022",
        exact=True,
        blind=True,
        rule=_joins,
        place=15,
    )
    deterministic: ClassVar[bool] = True
    iterations: int = 1
    tolerance: float = 2e-3

    def __post_init__(self) -> None:
        require(self, ("iterations",), ("tolerance",))

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Read the patches. Raises :class:`.Unsupported` where nothing tells their signals, or of several images."""
        place = patching(victim)
        if recipe.optimizer != "sgd":
            raise Unsupported(
                f"{recipe.optimizer} rescales every number by itself, so that weight and table got different signals."
            )
        change = changes(victim, recipe, place)
        left = change.left
        if recipe.size > 1 and not left <= self.tolerance:
            raise Unsupported(f"one image is read off, and there were more: it leaves {left:.2g} of the change over.")
        read = patches_of(change, _noise(victim, place), 1.0)
        whole = smoothed(read, lambda rows: victim.medium.roughness(place.joined(rows[None], victim.shape)))
        x = place.joined(whole[None].to(victim.like), victim.shape)
        memory = {"best.x": x, "best.loss": x.new_tensor(torch.inf), "left": x.new_tensor(left)}
        memory["told"] = x.new_tensor([1 - read.free.shape[1] / place.positions, read.error])
        return State(0, {"x": x}, {"labels": _label(victim, recipe)}, memory)

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Nothing is left to do for one image."""
        memory = {**state.memory, "best.loss": state.memory["left"]}
        return State(state.step + 1, state.variables, state.constants, memory, float(state.memory["left"]), done=True)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the image, with how much of it the changes tell."""
        x, loss = best(state)
        influence = torch.stack([torch.linalg.vector_norm(value) for value in victim.delta.values()]).norm()[None]
        found = reconstruction(victim, x, state.constants["labels"], influence, loss)
        told, error = state.memory["told"].tolist()
        return replace(found, doubt=_doubt(told, error))


def changes(victim: Victim, recipe: Recipe, place: Patching) -> Change:
    """Return what training added to patch and position embedding, decay undone."""
    sides = victim.theta0, victim.thetaf
    decay = recipe.travel * recipe.weight_decay if recipe.weight_decay else 0.0
    known = 1 - min(decay, 1.0) if math.isfinite(decay) else 1.0
    weight, table = ((read(sides[0]), read(sides[1])) for read in (place.matrix, place.rows))
    return undone(weight, table, known)


def _noise(victim: Victim, place: Patching) -> float:
    """Return the rounding in an entry of the weight's change, and what that of the table does to it, at a guess."""
    parts = [[read(params) for params in (victim.theta0, victim.thetaf)] for read in (place.matrix, place.rows)]
    weight, table = (noise(sides, [stored(side) for side in sides]) for sides in parts)
    return ROUNDINGS * math.hypot(weight, table * math.sqrt(place.positions))


def _label(victim: Victim, recipe: Recipe) -> Tensor:
    """Return (1,) the label that the head's change shows, 0 where it has none."""
    try:
        return torch.tensor([only_label(victim, recipe)])
    except Unsupported:
        return torch.tensor([0])


def _doubt(told: float, error: float) -> str:
    """Return why a low loss is no evidence for the image; empty where it is."""
    if told < TOLD:
        return f"the change tells {told:.0%} of the image, and the rest was chosen to be smooth"
    return f"noise in the change hides the image: an error of {error:.2g}" if error > CLEAR else ""
