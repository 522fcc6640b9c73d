"""Which attacks run and in which order: each attack's card says when it joins, from what the change shows.

The choice depends on the two files and the request alone, never on a clock.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ...attacks.contract.attack import Attack
from ...attacks.contract.card import DEEP, UNTOLD, Card, Rule, Sight, card_of
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ...attacks.explain.inversion import undecayed
from ...attacks.firstlayer.stored import first_change, stored
from ...attacks.layers import telling as layers_of
from ...attacks.layers.patching import patching
from ...attacks.text.tables import legible
from .. import plugins
from ..report.facts import Delta, Fact
from ..report.results import PlanStep
from ..request import ScanRequest
from .cards import GROUP
from .drive import Run
from .options import OptionError, attack_of, build

NAMED = "named by --attack"
"""Why an attack runs as it is, without a start from another one."""

ALL = "all"
"""In place of an attack's name: every registered attack that applies."""


@dataclass(frozen=True)
class Choice:
    """One attack, and whether it runs.

    Attributes:
        name: Its entry point.
        attack: The stepper; ``None`` where it cannot be made.
        reason: Why it runs, or why it is left out.
        runs: Whether it runs.
        asked: The command line names it: it is reported even where it does not apply.
        optional: It is left out once an exact attack has converged.
        start_from: The attack whose end it starts from.
        seconds: Estimated time of its whole schedule with every seed.
        left: The part of one seed's that is still to be run.
        closing: Estimated time of reading off one reconstruction; measured only where time is limited.
        memory: Peak of the steps that were timed, in bytes.
        share: Seconds of ``--max-time`` that it may use at least.
    """

    name: str
    attack: Attack | None
    reason: str = ""
    runs: bool = True
    asked: bool = False
    optional: bool = False
    start_from: str = ""
    seconds: float | None = None
    left: float | None = None
    closing: float = 0.0
    memory: int | None = None
    share: float | None = None

    @property
    def card(self) -> Card:
        """What the attack says about itself."""
        return UNTOLD if self.attack is None else card_of(type(self.attack))

    def dropped(self, reason: str) -> "Choice":
        """Return the same attack left out."""
        return Choice(self.name, self.attack, _clause(reason), runs=False, asked=self.asked)

    def step(self) -> PlanStep:
        """Return what is reported of it."""
        return PlanStep(
            attack=self.name,
            runs=self.runs,
            reason=self.reason,
            seconds=self.seconds,
            peak_memory_bytes=self.memory,
            share=self.share,
            start_from=self.start_from,
        )


def look(victim: Victim, recipe: Recipe, known: Mapping[str, Fact], delta: Delta) -> Sight:
    """Gather what the rules look at from the victim, its recipe, where that comes from, and what was read."""
    read = delta.facts
    sharp = "size" in read
    size = read["size"].value if "size" in read else recipe.size
    count = 1 if known["size"].source == "assumed" else size
    moved = sum(value.numel() for value in victim.delta.values())
    linearity = read["linearity"].value if "linearity" in read else None
    coverage = moved / (count * math.prod(victim.shape))
    return Sight(
        *(recipe.steps, size, sharp, linearity, coverage, delta.lost),
        telling=_telling(victim, recipe),
        legible=_legible(victim),
        patched=_patched(victim, recipe),
        stored=_stored(victim, recipe),
        adaptive=recipe.optimizer != "sgd",
    )


def _legible(victim: Victim) -> bool:
    """Return whether the change shows tokens; a third-party network that fails on them shows none."""
    try:
        return legible(victim)
    except Exception:
        return False


def _patched(victim: Victim, recipe: Recipe) -> bool:
    """Return whether the change shows the patches' signals; a third-party network that fails on noise shows none."""
    try:
        return recipe.optimizer == "sgd" and bool(patching(victim))
    except Exception:
        return False


def _stored(victim: Victim, recipe: Recipe) -> bool:
    """Return whether units of the first layer hold single records; a third-party network that fails on noise: no."""
    try:
        return recipe.optimizer == "sgd" and len(stored(first_change(victim, undecayed(victim, recipe)))) > 0
    except Exception:
        return False


def _telling(victim: Victim, recipe: Recipe) -> int:
    """Return how many convolutions tell records apart; a third-party network that fails on noise shows none."""
    if recipe.optimizer != "sgd":
        return 0
    try:
        layers = layers_of.candidates(victim, recipe.size)
        if len(layers) < DEEP:
            return len(layers)
        found = layers_of.telling(victim, victim.delta, recipe.size, 1.0, 1.0)
    except Exception:
        return 0
    return sum(layer in layers for layer, _ in found)


def candidates(request: ScanRequest, needed: Mapping[str, str] = MappingProxyType({})) -> list[Choice]:
    """Return the attacks to choose from, with their options, before any file is read.

    Those that ``--attack`` names, or all that are registered, in the order in which they run.

    Args:
        request: What is asked.
        needed: Attacks that must run whatever the files tell, and why, such as those that a gate is about.

    Raises:
        PluginError: A named attack is not registered or cannot be imported.
        OptionError: A setting that no attack takes.
    """
    if request.attacks and ALL not in request.attacks:
        built = build(request.attacks, request.options, request.max_iterations)
        return [Choice(attack.name, attack, NAMED, asked=True) for attack in built]
    asked = _asked(request, needed)
    found = [_candidate(name, request, asked.get(name, "")) for name in plugins.available(GROUP)]
    return sorted(found, key=lambda choice: (choice.card.place, choice.name))


def _asked(request: ScanRequest, needed: Mapping[str, str]) -> dict[str, str]:
    """Return the attacks that the command line names in any way, and where."""
    settings = {attack_of(setting): "named by --set" for setting in request.options}
    named = {name: NAMED for name in request.attacks if name != ALL}
    asked = {**needed, **settings, **named}
    known = list(plugins.available(GROUP))
    for name in asked:
        if name not in known:
            plugins.load(GROUP, name)  # raises, with the nearest name
    return asked


def _candidate(name: str, request: ScanRequest, asked: str) -> Choice:
    settings = [setting for setting in request.options if attack_of(setting) == name]
    try:
        (attack,) = build([name], settings, request.max_iterations)
    except (plugins.PluginError, OptionError) as error:
        if asked:
            raise
        return Choice(name, None).dropped(error.message)
    return Choice(name, attack, asked, asked=bool(asked))


def choose(found: Sequence[Choice], request: ScanRequest, sight: Sight) -> list[Choice]:
    """Decide for each attack whether it runs."""
    return [_chosen(choice, ALL in request.attacks, sight) for choice in found]


def _chosen(choice: Choice, everything: bool, sight: Sight) -> Choice:
    if choice.attack is None or choice.reason == NAMED:
        return choice
    if choice.asked:
        return dataclasses.replace(choice, start_from=choice.card.starts_from)
    if sight.lost:
        return choice.dropped("infeasible: no tensor changed by more than its rounding, so there is nothing to explain")
    if everything:
        return dataclasses.replace(choice, reason="--attack all")
    if choice.card.rule is None:
        return choice.dropped(f"on request: {choice.card.on_request}")
    return _joined(choice, choice.card.rule, sight)


def _joined(choice: Choice, rule: Rule, sight: Sight) -> Choice:
    """Return what an attack's own rule makes of it; a plugin's rule that fails ends nothing else."""
    try:
        runs, reason = rule(sight)
    except Exception as error:
        return choice.dropped(f"its rule failed ({plugins.one_line(error)})")
    if not isinstance(runs, bool) or not isinstance(reason, str):
        return choice.dropped("its rule failed (it must return a bool and a reason)")
    start = choice.card.starts_from if runs else ""
    return dataclasses.replace(choice, runs=runs, reason=reason, optional=True, start_from=start)


def settled(runs: Sequence[Run]) -> str:
    """Return why attacks of the planner's choice need not run any more; empty where they do."""
    for run in runs:
        if card_of(type(run.attack)).exact and run.outcome and run.outcome.status == "converged":
            return f"{run.attack.name} converged: what it found explains the change"
    return ""


def seeds(attack: Attack, request: ScanRequest) -> list[int]:
    """Return the seeds that an attack runs with: one for an attack that draws nothing."""
    count = 1 if getattr(attack, "deterministic", False) else request.restarts
    return [request.seed + number for number in range(count)]


def _clause(message: str) -> str:
    return message.removesuffix(".")
