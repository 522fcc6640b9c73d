"""The exposure of the records of a scene: which change is held against which records, and what the report shows."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...attacks.contract.attack import Unsupported, generator
from ...attacks.simulation.losses import goal_of
from ..data.base import TrainingSet
from ..events import Event
from ..exposure.kept import Shelf
from ..exposure.measure import Asked, measure
from ..exposure.pools import HELD_OUT, Question
from ..machine.clock import Deadline
from ..machine.means import Means
from ..recipe.decay import shrunk
from ..report.exposure import Exposure
from ..run.store import Store, key
from ..scoring.levels import FEWEST
from .place import behaviour
from .scene import Scene

SHARE = 0.2
"""Share of the time that is left after the attacks which the exposure may take in a scan."""

SHOWN = 24
"""Records that a report shows, the most exposed ones."""


@dataclass(frozen=True)
class Terms:
    """How the exposure is measured.

    Attributes:
        groups: A name for each record's group; empty for classes.
        by_chance: Whether a coin decided which records were trained on.
        held_out: Most held-out records.
    """

    groups: tuple[str, ...] = ()
    by_chance: bool = False
    held_out: int = HELD_OUT


def beside_attacks(scene: Scene, store: Store, means: Means) -> Exposure | None:
    """Return the exposure as a part of a scan, where it is measured with fewer held-out records, as it takes time too.

    ``None`` where it cannot be measured.
    """
    if scene.data is None:
        return None
    left = means.limits.deadline.left
    if math.isfinite(left):
        means = means.until(Deadline.after(SHARE * left))
    try:
        found = exposure(scene, store, means, Terms(held_out=max(FEWEST, 2 * len(scene.data.records))))
    except Unsupported as error:
        means.listener(Event("warning", error.message))
        return None
    return found if found and found.measured else None


def exposure(scene: Scene, store: Store, means: Means, terms: Terms) -> Exposure | None:
    """Return what the change betrays of the records; ``None`` without records or held-out ones, or without a change.

    Args:
        scene: What is known.
        store: The run folder, where finished pools are kept.
        means: What it is computed with, and within which limits.
        terms: How it is measured.

    Raises:
        Unsupported: The network cannot be differentiated record by record.
    """
    if scene.data is None or scene.control is None or not scene.victim.delta:
        return None
    asked = Asked(scene.data, scene.kind.about.words, terms.groups, terms.by_chance)
    question = _question(scene, scene.data, scene.control, terms)
    found = measure(question, asked, means, Shelf(store, _key(scene, question)))
    return shown(scene, scene.data, found, store.folder)


def _question(scene: Scene, data: TrainingSet, control: TrainingSet, terms: Terms) -> Question:
    rows = drawn(control, terms.held_out)
    labels = _usable(scene, data, control)
    return Question(
        make=scene.ground,
        shrink=_shrink(scene),
        goal=goal_of(scene.known.recipe),
        data=data.records,
        control=control.records[rows],
        data_labels=data.labels if labels else None,
        control_labels=control.labels[rows] if labels else None,
    )


def _usable(scene: Scene, data: TrainingSet, control: TrainingSet) -> bool:
    """Whether all labels are classes of the network; else none is used, as records must be treated alike."""
    highest = scene.victim.categories
    same = data.class_names == control.class_names or not (data.class_names and control.class_names)
    return same and all(bool(((part.labels >= 0) & (part.labels < highest)).all()) for part in (data, control))


def _shrink(scene: Scene) -> float:
    """Return the factor by which decay shrank the parameters, as far as it is known."""
    recipe = scene.known.recipe
    if recipe.weight_decay and not math.isnan(recipe.lr):
        return math.exp(-recipe.travel * recipe.weight_decay)
    return shrunk(scene.delta.facts) or 1.0


def _key(scene: Scene, question: Question) -> str:
    """Return what identifies the question: everything that its numbers depend on."""
    parts = [scene.pair.before.sha256, scene.pair.after.sha256, behaviour(scene.victim), repr(scene.victim.medium)]
    sets = [part.digest if part else "" for part in (scene.data, scene.control)]
    asked = [question.shrink, repr(question.goal), question.data_labels is None, len(question.control)]
    return key(parts, sets, asked)


def drawn(control: TrainingSet, most: int) -> Tensor:
    """Return the rows of the held-out records that are measured: all of them, or as many as may be, drawn once."""
    return torch.randperm(len(control.records), generator=generator(0))[: min(most, HELD_OUT)].sort().values


def shown(scene: Scene, data: TrainingSet, found: Exposure, folder: Path) -> Exposure:
    """Return the exposure with the most exposed records themselves, where evidence may be kept."""
    keep = scene.request.evidence != "none"
    rows = [
        row.model_copy(
            update={
                "exhibit": scene.kind.show(data.records[row.record], folder, f"exposed/sample-{row.record:05d}", keep)
            }
        )
        if place < SHOWN
        else row
        for place, row in enumerate(found.per_record)
    ]
    return found.model_copy(update={"per_record": rows})
