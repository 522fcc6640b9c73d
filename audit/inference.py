"""``memaudit infer``: how a model was trained, from its two checkpoints, without reconstructing anything."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import assemble, pipeline, recipe_file
from .events import Event, Listener, silence
from .files import write_text
from .meter import ceiling
from .options import build
from .recipe import check
from .report import Delta, Fact, SearchPoint
from .request import ScanRequest
from .store import Store

ALLOWANCE = 0.5
"""Simulated steps of the search, as a share of those of the attack that a scan would run."""


@dataclass(frozen=True)
class Inference:
    """What the two checkpoints tell.

    Attributes:
        recipe: Facts by the names of :class:`memaudit.audit.report.Recipe`.
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
            "delta": {name: fact.model_dump(mode="json") for name, fact in self.delta.facts.items()},
            "seconds": round(self.seconds, 2),
        }
        return json.dumps(content, indent=2) + "\n"

    def to_toml(self) -> str:
        """Return the recipe file that ``memaudit scan --recipe`` takes."""
        return recipe_file.dump(self.recipe)


def infer(request: ScanRequest, listener: Listener = silence) -> Inference:
    """Work out the recipe of a checkpoint pair.

    The search keeps its states in the run folder: an interrupted one goes on, and a finished one is not repeated.

    Raises:
        MemauditError: Unusable input or options, in one sentence and a hint.
        Interrupted: The user stopped it; the state is saved.
    """
    started = time.monotonic()
    check(request)
    with pipeline.exact_numerics():
        attacks = build(request.attacks or (pipeline.SEARCHER,), request.options, request.max_iterations)
        scene = pipeline.load(request, listener)
        deadline = started + request.max_time if request.max_time else math.inf
        store = Store(pipeline.run_folder(scene))
        with store.held(), ceiling(scene.victim.like.device, request.max_memory):
            learned = pipeline.learn(scene, attacks, store, deadline, listener, ALLOWANCE)
    listener(Event("done"))
    facts = {name: fact for name, fact in learned.facts.items() if name != "normalise"}
    return Inference(facts, scene.delta, assemble.search_points(learned), time.monotonic() - started)


def write_recipe(found: Inference, path: Path) -> None:
    """Write the recipe file. Raises :class:`.files.FormatError` where it cannot be written."""
    write_text(path, found.to_toml())


def print_inference(console: Console, found: Inference) -> None:
    """Print the recipe as a table with the evidence."""
    table = Table(title="How the model was trained", title_justify="left")
    for column in ("field", "value", "source", "confidence", "evidence"):
        table.add_column(column)
    for name, fact in found.recipe.items():
        table.add_row(name, escape(shown(fact)), fact.source, sureness(fact), escape(fact.evidence))
    console.print(table)


def shown(fact: Fact) -> str:
    """Return a fact's value for a table."""
    value = fact.value
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def sureness(fact: Fact) -> str:
    """Return a fact's confidence and interval for a table."""
    sure = "" if fact.confidence is None else f"{fact.confidence:.0%}"
    if fact.interval is None or fact.interval[0] is None or fact.interval[1] is None:
        return sure
    low, high = fact.interval
    return f"{sure} ({low:.3g} to {high:.3g})".strip()
