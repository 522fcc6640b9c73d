"""Which attacks run and in which order: chosen from what the change of the parameters tells (design notes, 13.10).

The choice depends on the two files and the request alone, never on a clock.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...attacks.contract.attack import Attack
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from .. import plugins
from ..report.facts import Delta, Fact
from ..report.results import PlanStep
from ..request import ScanRequest
from ..verdict.expression import Gate
from .drive import Run
from .options import GROUP, OptionError, attack_of, build

NAMED = "named by --attack"
"""Why an attack runs as it is, without a start from another one."""

ALL = "all"
"""In place of an attack's name: every registered attack that applies."""

EXACT = ("spear", "span")
"""Attacks whose convergence makes others needless: they look where only the training data, or mixtures of them, lie."""

SIMULATING = ("span", "simudy")
"""Attacks that simulate the training itself: data of the right number can bring their loss down to nothing."""

SPEAR_SIZE = 24
"""With each sample more, spear must draw twice as often; beyond this many it does not end."""

LINEAR = 0.9
"""Cosine of gradients before and after training from which attacks on a linear training apply."""

WARM = {"simudy": "sme"}
"""What an attack of the planner's choice starts from."""

ON_REQUEST = {
    "haim": "explains the trained weights alone, which tells less than the change",
    "buzaglo": "explains the trained weights alone, which tells less than the change",
    "onestep": "a weaker form of buzaglo, there to compare with the SimuDy paper",
    "twostep": "a weaker form of loo, there to compare with the SimuDy paper",
    "dlg": "needs smooth activations and one step; inverting_gradients does both",
    "idlg": "needs smooth activations and one step; inverting_gradients does both",
    "gradinversion": "made for one step; inverting_gradients is the default for it",
    "gion": "a generator in place of pixels, slow",
}
"""Attacks outside the default set, and why; in the order in which ``--attack all`` runs them."""


@dataclass(frozen=True)
class Choice:
    """One attack, and what becomes of it.

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


@dataclass(frozen=True)
class Sight:
    """What the rules look at.

    Attributes:
        steps: Steps of the training.
        size: Training samples: as the change shows them, else as the recipe says.
        sharp: Whether the change shows them.
        linearity: Cosine of the loss gradients before and after training; ``None`` if it was not measured.
        coverage: Numbers that moved for each unknown number of the images.
        lost: Nothing moved out of rounding.
    """

    steps: int
    size: int
    sharp: bool
    linearity: float | None
    coverage: float
    lost: bool


def look(victim: Victim, recipe: Recipe, known: Mapping[str, Fact], delta: Delta) -> Sight:
    """Gather what the rules look at from the victim, its recipe, where that comes from, and what was read."""
    read = delta.facts
    sharp = "size" in read
    size = read["size"].value if "size" in read else recipe.size
    images = 1 if known["size"].source == "assumed" else size
    moved = sum(value.numel() for value in victim.delta.values())
    linearity = read["linearity"].value if "linearity" in read else None
    return Sight(recipe.steps, size, sharp, linearity, moved / (images * math.prod(victim.shape)), delta.lost)


def candidates(request: ScanRequest, gates: Sequence[Gate] = ()) -> list[Choice]:
    """Return the attacks to choose from, with their options, before any file is read.

    Those that ``--attack`` names, or all that are registered.

    Raises:
        PluginError: A named attack is not registered or cannot be imported.
        OptionError: A setting that no attack takes.
    """
    if request.attacks and ALL not in request.attacks:
        built = build(request.attacks, request.options, request.max_iterations)
        return [Choice(attack.name, attack, NAMED, asked=True) for attack in built]
    asked = _asked(request, gates)
    return [_candidate(name, request, asked.get(name, "")) for name in sorted(plugins.available(GROUP), key=_order)]


def _asked(request: ScanRequest, gates: Sequence[Gate]) -> dict[str, str]:
    """Return the attacks that the command line names in any way, and where."""
    settings = {attack_of(setting): "named by --set" for setting in request.options}
    named = {name: NAMED for name in request.attacks if name != ALL}
    asked = {gate.attack: f"the gate {gate.text} needs it" for gate in gates if gate.attack} | settings | named
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


def _order(name: str) -> tuple[int, str]:
    known = [*RULES, *ON_REQUEST]
    return (known.index(name) if name in known else len(known), name)


def choose(found: Sequence[Choice], request: ScanRequest, sight: Sight) -> list[Choice]:
    """Decide for each attack whether it runs."""
    return [_chosen(choice, ALL in request.attacks, sight) for choice in found]


def _chosen(choice: Choice, everything: bool, sight: Sight) -> Choice:
    if choice.attack is None or choice.reason == NAMED:
        return choice
    if choice.asked:
        return dataclasses.replace(choice, start_from=WARM.get(choice.name, ""))
    if sight.lost:
        return choice.dropped("infeasible: no tensor changed by more than its rounding, so there is nothing to explain")
    if everything:
        return dataclasses.replace(choice, reason="--attack all")
    if choice.name in RULES:
        runs, reason = RULES[choice.name](sight)
        start = WARM.get(choice.name, "") if runs else ""
        return dataclasses.replace(choice, runs=runs, reason=reason, optional=True, start_from=start)
    why = ON_REQUEST.get(choice.name, "not one of memaudit's own")
    return choice.dropped(f"on request: {why}")


Rule = Callable[[Sight], tuple[bool, str]]


def _spear(sight: Sight) -> tuple[bool, str]:
    if sight.size > SPEAR_SIZE:
        return False, f"{sight.size} samples; its search doubles with each, and ends in time up to {SPEAR_SIZE}"
    return True, f"exact; {_samples(sight)}"


def _span(sight: Sight) -> tuple[bool, str]:
    return True, f"searches the span of the first layer's change; {_samples(sight)}"


def _samples(sight: Sight) -> str:
    shown = ", as the change shows" if sight.sharp else ""
    return f"{sight.size} sample{'s' * (sight.size > 1)}{shown}"


def _sme(sight: Sight) -> tuple[bool, str]:
    if sight.steps == 1:
        return False, "training was one step: its gradient is known at the point where it was taken"
    partial = f"; partial at best: {_covered(sight)}" if sight.coverage < 1 else ""
    return True, f"cheap: one learned point stands for the training{partial}"


def _loo(sight: Sight) -> tuple[bool, str]:
    if sight.linearity is None:
        return False, "needs a nearly linear training, and how linear this one was could not be measured"
    if sight.linearity < LINEAR:
        return False, f"needs a nearly linear training, and this one was not ({sight.linearity:.2f})"
    if sight.coverage < 1:
        return False, _infeasible(sight)
    return True, f"training was nearly linear ({sight.linearity:.2f})"


def _inverting_gradients(sight: Sight) -> tuple[bool, str]:
    if sight.steps > 1:
        return False, f"explains one gradient, and training had {sight.steps} steps"
    if sight.coverage < 1:
        return False, _infeasible(sight)
    return True, "training was one step: the change is the gradient"


def _simudy(sight: Sight) -> tuple[bool, str]:
    if sight.coverage < 1:
        return False, _infeasible(sight)
    return True, "simulates the training: for any differentiable network"


def _infeasible(sight: Sight) -> str:
    return f"infeasible: {_covered(sight)}"


def _covered(sight: Sight) -> str:
    return f"{sight.coverage:.2g} numbers moved for each unknown one of the images"


RULES: dict[str, Rule] = {
    "spear": _spear,
    "span": _span,
    "sme": _sme,
    "loo": _loo,
    "inverting_gradients": _inverting_gradients,
    "simudy": _simudy,
}
"""The default set, in the order in which it runs: what is exact first, what is cheap next."""


def settled(runs: Sequence[Run]) -> str:
    """Return why attacks of the planner's choice need not run any more; empty where they do."""
    for run in runs:
        if run.attack.name in EXACT and run.outcome and run.outcome.status == "converged":
            return f"{run.attack.name} converged: its images explain the change"
    return ""


def seeds(attack: Attack, request: ScanRequest) -> list[int]:
    """Return the seeds that an attack runs with: one for an attack that draws nothing."""
    count = 1 if getattr(attack, "deterministic", False) else request.restarts
    return [request.seed + number for number in range(count)]


def _clause(message: str) -> str:
    return message.removesuffix(".")
