"""Attacks on a victim whose recipe is complete: chosen, timed, and run."""

from collections.abc import Sequence

from ...attacks.contract.recipe import Recipe
from ..events import Event
from ..machine.clock import NEVER, Deadline
from ..machine.means import Means
from ..report.results import PlanStep
from ..run.campaign import Campaign
from ..run.drive import Run
from ..run.planner import Choice, choose, look, seeds, settled
from ..run.store import Place
from ..scoring import effort
from .scene import Scene


def attack(
    scene: Scene, recipe: Recipe, candidates: Sequence[Choice], place: Place, means: Means, first: Run | None = None
) -> tuple[list[Run], list[PlanStep]]:
    """Choose attacks, announce the plan, and run it.

    Args:
        scene: What is known.
        recipe: How the victim was trained, complete.
        candidates: The attacks to choose from.
        place: Where states are kept.
        means: What attacks run with, and within which limits.
        first: A run that makes the planner's later attacks unnecessary; see :func:`.exact.explained`.

    Returns:
        One run for each attack and seed, and what became of the plan.
    """
    campaign, plan = prepare(scene, recipe, candidates, place, means, first)
    told = tuple(choice.step().model_dump(mode="json") for choice in plan)
    means.listener(Event("plan", f"{sum(choice.runs for choice in plan)} of {len(plan)} attacks run", plan=told))
    runs, plan = campaign.carry_out(plan)
    return runs, [choice.step() for choice in plan]


def prepare(
    scene: Scene, recipe: Recipe, candidates: Sequence[Choice], place: Place, means: Means, first: Run | None = None
) -> tuple[Campaign, list[Choice]]:
    """Choose attacks and time their first steps; return what runs them, and the plan. See :func:`attack`."""
    chosen = choose(candidates, scene.request, look(scene.victim, recipe, scene.known.facts, scene.delta))
    if first:
        last = 1 + [choice.name for choice in chosen].index(first.attack.name)
        later = [choice.dropped(settled([first])) if choice.runs else choice for choice in chosen[last:]]
        chosen = [*chosen[:last], *later]
    means = _with_time_to_score(scene, recipe, chosen, means)
    campaign = Campaign(scene.request, scene.ground, recipe, place, means)
    return campaign, campaign.measure(chosen)


def _with_time_to_score(scene: Scene, recipe: Recipe, plan: Sequence[Choice], means: Means) -> Means:
    """Have attacks end early enough for what they find to be scored; at most half of the time left is kept for that."""
    end = means.limits.end
    if end == NEVER or scene.data is None:
        return means
    half = Deadline.after(end.left / 2)
    counts = [len(seeds(choice.attack, scene.request)) for choice in plan if choice.runs and choice.attack]
    results = sum(count + (count > 1) for count in counts)  # each seed, and what several agree on
    seconds = effort.seconds(scene.kind, scene.data, scene.control, [recipe.size] * results)
    kept = means.until(max(end.earlier(seconds), half))
    if end.earlier(seconds) < kept.limits.deadline:
        text = f"Scoring the reconstructions takes about {seconds:.0f} s, so the scan will exceed --max-time."
        means.listener(Event("warning", text))
    return kept
