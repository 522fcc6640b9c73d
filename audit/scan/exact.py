"""Exact attacks that need no recipe come before the search for one: what they explain, nothing else need explain."""

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from itertools import takewhile

from ...attacks.contract.recipe import Recipe
from ..events import Event, Listener
from ..machine.clock import NEVER, Deadline
from ..machine.means import Means
from ..run.campaign import Campaign
from ..run.drive import Run
from ..run.planner import Choice, choose, look, settled
from ..run.store import Place
from .scene import Scene

SHARE = 0.25
"""Share of the time left that they may take."""


def recipeless(choice: Choice, recipe: Recipe) -> bool:
    """Return whether an attack uses no learning rate: decay that was given is told from the change with its help."""
    return choice.card.blind and not (recipe.weight_decay and math.isnan(recipe.lr))


def explained(scene: Scene, recipe: Recipe, candidates: Sequence[Choice], place: Place, means: Means) -> Run | None:
    """Return the run of an exact attack that uses no recipe and has converged: the planner's other ones need not run.

    Its state is kept: the scan goes on from it. ``None`` where none converged before the first one of the plan that is
    not exact or uses the recipe, or where an attack that was asked for runs in any case.

    Args:
        scene: What is known.
        recipe: How the victim was trained; its learning rate may stand for an unknown one.
        candidates: The attacks to choose from.
        place: Where states are kept.
        means: What attacks run with, and within which limits.
    """
    plan = choose(candidates, scene.request, look(scene.victim, recipe, scene.known.facts, scene.delta))
    running = [choice for choice in plan if choice.runs]
    exact = list(takewhile(lambda choice: choice.card.exact and recipeless(choice, scene.known.recipe), running))
    if not all(choice.optional for choice in running) or len(exact) == len(running):
        return None
    left = means.limits.deadline.left
    soon = Deadline.after(SHARE * left) if math.isfinite(left) else NEVER
    means = dataclasses.replace(means.until(soon), listener=partial(_told, means.listener))
    campaign = Campaign(scene.request, scene.ground, recipe, place, means)
    for choice in exact:
        runs, _ = campaign.carry_out([choice])
        if found := next((run for run in runs if settled([run])), None):
            return found
    return None


def _told(listener: Listener, event: Event) -> None:
    """Tell what happens as one stage of its own: the attacks of the plan are told later."""
    listener(event if event.stage == "warning" else dataclasses.replace(event, stage="exact"))
