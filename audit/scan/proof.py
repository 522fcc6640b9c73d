"""What a PASS rests on beside the attacks: the data explain the change, and the recipe gives it."""

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor

from ...attacks.contract.attack import generator
from ...attacks.contract.recipe import Recipe
from ...attacks.explain.inversion import undecayed
from ...attacks.explain.records import learned
from ..check.data import UNTOLD, Question, check
from ..check.training import likeness, trained
from ..data.base import TrainingSet
from ..events import Event, Listener
from ..machine.alarm import TimeUp, alarm
from ..machine.clock import NEVER, Deadline
from ..machine.means import Means
from ..report.proof import DataCheck, MockVictim
from .scene import Scene

ALIKE = 0.8
"""Cosine from which a training by the recipe gives the change: another order of batches leaves it higher."""

LENGTHS = (0.7, 1.4)
"""Ratio of the lengths of the two changes that counts as the same."""


class Proof(NamedTuple):
    """What is known of the data and of the attacks' power; ``None`` where it was not looked at."""

    check: DataCheck | None = None
    power: MockVictim | None = None


UNPROVEN = Proof()

SHARE = 0.2
"""Share of the time that the data check may take."""


def data_check(scene: Scene, recipe: Recipe, means: Means) -> DataCheck | None:
    """Return whether the data explain the change, within a share of the time; ``None`` without data."""
    if scene.data is None:
        return None
    victim = scene.victim
    change = victim.delta if math.isnan(recipe.lr) else undecayed(victim, recipe)
    left = means.limits.deadline.left
    try:
        with alarm(Deadline.after(SHARE * left) if math.isfinite(left) else NEVER):
            return check(Question(victim, recipe, change, scene.kind, scene.data, scene.control), means.listener)
    except TimeUp:
        return DataCheck(explained=None, reason=f"{UNTOLD} in this time: give more --max-time.")


def with_recipe(found: DataCheck, scene: Scene, recipe: Recipe, listener: Listener) -> DataCheck:
    """Return the check with what training on the data by the recipe gives, beside the real change."""
    if scene.data is None:
        return found
    listener(Event("check", "whether the recipe gives the change"))
    victim, data = scene.victim, scene.data
    x = victim.medium.encode(data.records.to(victim.like))
    plain = dataclasses.replace(recipe, size=len(x), batch_size=min(recipe.batch_size, len(x)), labels=None)
    best, longer = max(_tried(scene, plain, x, labels) for labels in _labellings(scene, data, x))
    same = best >= ALIKE and LENGTHS[0] <= longer <= LENGTHS[1]
    return found.model_copy(update={"recipe": same, "likeness": best})


def _labellings(scene: Scene, data: TrainingSet, x: Tensor) -> list[Tensor]:
    """Return the labels of the data, where they have usable ones, and those that training taught the network."""
    found, highest = [learned(scene.victim, x)], scene.victim.categories
    usable = bool(((data.labels >= 0) & (data.labels < highest)).all())
    return [data.labels, *found] if usable else found


def _tried(scene: Scene, recipe: Recipe, x: Tensor, labels: Tensor) -> tuple[float, float]:
    end = trained(scene.victim, recipe, x, labels.to(x.device), generator(scene.request.seed))
    cosine, longer = likeness(scene.victim.change(end), scene.victim.delta)
    return (cosine, longer) if torch.isfinite(torch.tensor(cosine)) else (-1.0, longer)
