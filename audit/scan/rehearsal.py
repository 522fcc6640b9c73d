"""A scan up to its plan: what would run, for how long and in how much memory. It leaves nothing behind."""

import dataclasses
import math
from tempfile import TemporaryDirectory

from ..events import Listener, silence
from ..machine.clock import Deadline
from ..machine.numerics import exact_numerics
from ..report.results import PlanStep
from ..request import ScanRequest
from .asked import understand
from .attack import prepare
from .learn import SEARCHER, learn, searchers
from .mock import before_proof
from .place import job_place
from .scene import load
from .search import ALLOWANCE
from .workplace import workplace


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """What a scan would do.

    Attributes:
        plan: Every attack, whether it runs, and what it takes.
        search: Seconds that the search for the learning rate takes at most; ``None`` where none is needed, infinity
            where that is not known.
    """

    plan: list[PlanStep]
    search: float | None


def rehearse(request: ScanRequest, listener: Listener = silence, end: Deadline | None = None) -> Rehearsal:
    """Read what a scan reads, choose its attacks and time their first steps; an unknown learning rate is assumed.

    Raises:
        MemauditError: Unusable input or options, in one sentence and a hint.
    """
    end = end or Deadline.after(request.max_time)
    with exact_numerics(), TemporaryDirectory(prefix="memaudit-") as folder:
        asked = understand(request)
        scene = load(request, listener)
        scene = dataclasses.replace(scene, request=dataclasses.replace(request, out=folder))
        with workplace(scene, end, listener) as (store, means):
            place, searched = job_place(scene, store), searchers(scene, asked.candidates)
            recipe = learn(scene, [], place, means).recipe
            able = before_proof(scene, means)
            plan = [choice.step() for choice in prepare(scene, recipe, asked.candidates, place, able)[1]]
    return Rehearsal(plan, _search(plan, request.max_time) if searched else None)


def _search(plan: list[PlanStep], most: float | None) -> float:
    """Return how long a search may take: its share of the steps, and of the time."""
    whole = next((step.seconds for step in plan if step.attack == SEARCHER and step.seconds), math.inf)
    return min(whole * ALLOWANCE / (1 - ALLOWANCE), math.inf if most is None else ALLOWANCE * most)
