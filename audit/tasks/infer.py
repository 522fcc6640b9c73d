"""``memaudit infer``: how a model was trained, from its two checkpoints, without reconstructing anything."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..events import Event, Listener, silence
from ..files import write_text
from ..machine.clock import Deadline
from ..machine.numerics import exact_numerics
from ..printable import json_text
from ..recipe import file as recipe_file
from ..report.facts import Delta, Fact, SearchPoint
from ..request import ScanRequest, check
from ..run.options import build
from ..scan.compose import search_points
from ..scan.learn import SEARCHER, learn
from ..scan.place import job_place
from ..scan.scene import load
from ..scan.workplace import workplace

ALLOWANCE = 0.5
"""Simulated steps of the search, as a share of those of the attack that a scan would run."""


@dataclass(frozen=True)
class Inference:
    """What the two checkpoints show.

    Attributes:
        recipe: Facts by the names of :data:`.recipe.fields.FIELDS`.
        delta: What the change of the parameters told before anything was simulated.
        search: Every candidate of the search; empty where nothing had to be searched for.
        seconds: How long it took.
    """

    recipe: dict[str, Fact]
    delta: Delta
    search: list[SearchPoint]
    seconds: float

    def to_json(self) -> str:
        """Return ``{"recipe": {FIELD: ...}, "search": [...], "delta": {...}, "seconds": ...}`` and a newline."""
        content: dict[str, Any] = {
            "recipe": {name: fact.model_dump(mode="json") for name, fact in self.recipe.items()},
            "search": [point.model_dump(mode="json") for point in self.search],
            "delta": {name: fact.model_dump(mode="json") for name, fact in self.delta.readings.items()},
            "seconds": round(self.seconds, 2),
        }
        return json_text(content) + "\n"

    def to_toml(self) -> str:
        """Return the recipe file that ``memaudit scan --recipe`` takes."""
        return recipe_file.dump(self.recipe)


def infer(request: ScanRequest, listener: Listener = silence, end: Deadline | None = None) -> Inference:
    """Work out the recipe of a checkpoint pair.

    The search keeps its states in the run folder: an interrupted one continues, and a finished one is not repeated.

    Args:
        request: Which pair, and what is known of it.
        listener: Hears one event for everything that happens.
        end: When all is to be over; ``max_time`` from now by default.

    Raises:
        MemauditError: Unusable input or options, in one sentence and a hint.
        Interrupted: The user stopped it; the state is saved.
    """
    end = end or Deadline.after(request.max_time)
    check(request)
    with exact_numerics():
        attacks = build(request.attacks or (SEARCHER,), request.options, request.max_iterations)
        scene = load(request, listener)
        with workplace(scene, end, listener) as (store, means):
            learned = learn(scene, attacks, job_place(scene, store), means, ALLOWANCE, whole=True)
    listener(Event("done"))
    facts = {name: fact for name, fact in learned.facts.items() if name != "normalise"}
    return Inference(facts, scene.delta, search_points(learned), time.monotonic() - end.began)


def write_recipe(found: Inference, path: Path) -> None:
    """Write the recipe file. Raises :class:`.files.FormatError` where it cannot be written."""
    write_text(path, found.to_toml())
