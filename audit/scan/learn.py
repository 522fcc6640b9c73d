"""The recipe completed: what was known, and a search for what was not."""

import dataclasses
import math
from collections.abc import Sequence

from ...attacks.contract.attack import Attack
from ...attacks.contract.recipe import Optimizer, Recipe
from ..events import Event
from ..machine.clock import NEVER
from ..machine.means import Means
from ..recipe.decay import decay_of, shrink
from ..recipe.fields import FIELDS
from ..recipe.known import Known
from ..recipe.shapes import shapes
from ..recipe.sources import assumed
from ..report.facts import Fact
from ..run.failure import failure
from ..run.options import build
from ..run.planner import Choice, choose, look
from ..run.store import Place
from .candidates import CREDIBLE, Axes, Candidate, edges, interval
from .exact import recipeless
from .patience import Patience
from .scene import Scene
from .search import ALLOWANCE, Search, search

SURE = 0.9
"""An optimiser that was read off the change with less confidence is tried beside the other kind."""


UNUSED = "no attack of the plan uses it"
"""Why an unknown learning rate was not searched for."""

SEARCHER = "simudy"
"""The attack whose first steps compare candidate recipes."""


def searchers(scene: Scene, candidates: Sequence[Choice], always: bool = False) -> list[Attack]:
    """Return what searches for an unknown recipe: SimuDy, as it simulates; nothing where no attack will use it.

    ``always``: also there, if only the records are such that some attack could.
    """
    request, known = scene.request, scene.known
    if not math.isnan(known.recipe.lr):
        return []
    sight = look(scene.victim, known.recipe, known.facts, scene.delta)
    plan = choose(candidates, request, sight)
    needed = not all(recipeless(choice, known.recipe) for choice in plan if choice.runs)
    if not needed and (sight.legible or not always):
        return []
    named = [choice.attack for choice in candidates if choice.name == SEARCHER and choice.attack]
    return named or build([SEARCHER], [], request.max_iterations)


@dataclasses.dataclass(frozen=True)
class Learned:
    """A complete recipe, where each of its values comes from, and what was tried to find it.

    ``edge``: the learning rate lies at the edge of those that were tried.
    """

    recipe: Recipe
    facts: dict[str, Fact]
    trace: tuple[Candidate, ...] = ()
    chosen: Candidate | None = None
    edge: bool = False


def learn(
    scene: Scene,
    attacks: Sequence[Attack],
    place: Place,
    means: Means,
    allowance: float = ALLOWANCE / (1 - ALLOWANCE),
    whole: bool = False,
) -> Learned:
    """Search for an unknown learning rate, and what goes with it, with the first attack that can treat this victim.

    Args:
        scene: What is known.
        attacks: Those whose first steps may compare recipes; none where no attack uses what they would find.
        place: Where states are kept.
        means: What probes run with, and within which limits.
        allowance: Share of an attack's own simulated steps that all its probes together may take.
        whole: Whether the search has all the time to itself; else it has its share, over all sessions of the scan.
    """
    known = scene.known
    if not math.isnan(known.recipe.lr):
        return unsearched(scene)
    if not attacks and not scene.delta.lost:
        return unsearched(scene)
    tried: tuple[Candidate, ...] = ()
    why = "the search found none in time" if attacks else "the change is only rounding, which does not show it"
    for attack in attacks:
        patience = Patience(place(attack, known.recipe, "search", seed=scene.request.seed), _allowed(means, whole))
        means.listener(Event("search", f"recipe{_before(patience)}"))
        state = Search(attack, scene.ground, known.recipe, scene.request.seed, place, means, allowance)
        try:
            with patience.spent() as soon:
                state.means = means.until(soon, soon)
                chosen = search(state, _axes(scene))
        except Exception as error:
            why = f"the search with {attack.name} ended: {failure(error).message.rstrip('.')}"
            continue
        tried = tuple(state.tried)
        if chosen is not None:
            return _learned(scene, chosen, tried)
        break
    usual = FIELDS["lr"].usual
    means.listener(Event("warning", f"No learning rate could be found ({why}); {usual} is assumed (--lr)."))
    return dataclasses.replace(unsearched(scene, why), trace=tried)


def _allowed(means: Means, whole: bool) -> float:
    """Return how many seconds a search may take."""
    end = means.limits.end
    return math.inf if whole or end == NEVER else ALLOWANCE * (end.at - end.began)


def _before(patience: Patience) -> str:
    """Return in words what an earlier session of the same scan has done."""
    if not patience.taken:
        return ""
    return ", continued" if patience.left else ", as an earlier run found it"


def unsearched(scene: Scene, why: str = UNUSED) -> Learned:
    """Return what is known, with the usual learning rate in place of one that was not searched for, and why."""
    if not math.isnan(scene.known.recipe.lr):
        return _decayed(scene, scene.known)
    facts = {**scene.known.facts, "lr": assumed("lr", evidence=why)}
    return _decayed(scene, Known(dataclasses.replace(scene.known.recipe, lr=FIELDS["lr"].usual), facts))


def _decayed(scene: Scene, known: Known) -> Learned:
    """Return what is known, with the weight decay that the change and a known learning rate tell together."""
    factor = shrink(scene.delta, known.facts)
    if factor >= 1:
        return Learned(known.recipe, known.facts)
    fact = decay_of(factor, known.recipe.travel)
    recipe = dataclasses.replace(known.recipe, weight_decay=fact.value)
    return Learned(recipe, {**known.facts, "weight_decay": fact})


def _axes(scene: Scene) -> Axes:
    facts, recipe, read = scene.known.facts, scene.known.recipe, scene.delta.facts
    fact = facts["optimizer"]
    optimizers: tuple[Optimizer, ...] = (recipe.optimizer,)
    if fact.source != "given" and (fact.confidence or 0.0) < SURE:
        optimizers = (*optimizers, "adam" if recipe.optimizer == "sgd" else "sgd")
    travel = read["travel"].value if "travel" in read else None
    return Axes(optimizers, shapes(facts, recipe, scene.steps), travel, shrink(scene.delta, facts))


def _learned(scene: Scene, chosen: Candidate, trace: tuple[Candidate, ...]) -> Learned:
    """Return the chosen recipe with what the search adds to the facts."""
    facts, recipe = dict(scene.known.facts), chosen.recipe
    recipe = dataclasses.replace(recipe, labels=scene.known.recipe.labels)
    count = sum(candidate.complete for candidate in trace)
    read, edge = scene.delta.facts.get("travel"), False
    if recipe.optimizer != "sgd" and read is not None:
        low, high = (float(end or 0.0) / recipe.travel * recipe.lr for end in read.interval or (0.0, 0.0))
        why = f"{read.evidence}; over {recipe.steps} steps"
        facts["lr"] = Fact(
            value=recipe.lr, source="inferred", option="--lr", confidence=read.confidence, interval=(low, high),
            evidence=why,
        )  # fmt: skip
    else:
        edge = any(edges(chosen, trace))
        why = (
            f"lowest early loss of {count} candidates{_told(chosen, edge)}; explains the change to a cosine distance "
            f"of {chosen.cosine:.2g}; the change shows learning rate times steps, {recipe.travel:.3g}, not either alone"
        )
        sure = 0.3 if edge else 0.8 if chosen.cosine <= CREDIBLE else 0.5
        facts["lr"] = Fact(
            value=recipe.lr, source="inferred", option="--lr", confidence=sure, interval=interval(chosen, trace),
            evidence=why,
        )  # fmt: skip
    _adopt(facts, scene.known.recipe, recipe)
    factor = shrink(scene.delta, facts)
    if factor < 1:
        facts["weight_decay"] = decay_of(factor, recipe.travel)
    if chosen.labels and "labels" not in facts:
        facts["labels"] = Fact(
            value=list(chosen.labels), source="inferred", option="--labels",
            confidence=0.7 if chosen.cosine <= CREDIBLE else 0.3, evidence="the labels that explained the change best",
        )  # fmt: skip
    return Learned(recipe, facts, trace, chosen, edge)


def _told(chosen: Candidate, edge: bool) -> str:
    """Return in words what makes a learning rate uncertain."""
    said = ", at the edge of those that were tried: the true one may lie beyond" if edge else ""
    return said if chosen.rung else f"{said}, on a coarse grid as there was no time to fit it"


def _adopt(facts: dict[str, Fact], before: Recipe, after: Recipe) -> None:
    """Write into ``facts`` what the search changed beside the learning rate."""
    for name in ("optimizer", "batch_size", "epochs"):
        value = getattr(after, name)
        if value != getattr(before, name) and facts[name].source != "given":
            why = "explained the change better than the others that were tried"
            option = facts[name].option
            facts[name] = Fact(value=value, source="inferred", option=option, confidence=0.5, evidence=why)
