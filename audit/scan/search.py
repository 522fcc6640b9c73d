"""The unknown recipe: short attacks on candidate recipes, the lowest early loss wins (SimuDy, section 3 and Fig. 3).

The paper compares cosine losses over learning rates, for one batch size at a time. Three things are done differently:

- The cosine does not see how far training went. Candidates are compared by the relative squared error of the simulated
  change, ``|change - delta|^2 / |delta|^2``, which the cosine distance c and the ratio of norms r give as
  ``(r - 1)^2 + 2 r c``.
- What a parameter change shows is the *travel*, learning rate times steps (:attr:`.Recipe.travel`), hardly the two
  apart. So candidates of any epochs and batch size are compared at equal travel, and fewer epochs are simulated.
- Successive halving: many candidates get a few attack steps, the best more, with the learning rate fitted along
  (by its hypergradient and the ratio of norms), and the best of those a whole probe.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from ...attacks.contract.attack import Attack, State
from ...attacks.contract.recipe import Optimizer, Recipe
from ...attacks.contract.victim import Victim
from ...attacks.simudy import LOG_LR
from ..machine.executor import Together
from ..machine.means import Means
from ..run.drive import Outcome
from ..run.store import Place
from ..run.work import Work, carry_out
from .candidates import CREDIBLE, STRIDE, Axes, Candidate, best, preferred, promoted

RUNGS = (8, 20, 25)
"""Attack steps of a candidate in each round; the last continues where the second ended, to some 50 as in the paper."""

SHORTEST = 5
"""No probe is shorter, however small the budget."""

EPOCHS = (2, 3, 20)
"""Most epochs that a probe of each round simulates: few steps are cheap and never unstable, many are faithful."""

TRAVELS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Coarse grid of SGD: sums of learning rates over training; extended outwards if it does not enclose the right one."""

LIMITS = (3e-4, 30.0)
"""How far the grid may be extended."""

NEAR = 2.0
"""Ratio of neighbours on the grid of Adam, around the travel that the change shows."""

ALLOWANCE = 0.15
"""Largest share of a scan's simulated steps, and of its time, that the search may take."""

Try = tuple[Recipe, bool]
"""A recipe to try, and whether its learning rate is fitted from there or stays."""


@dataclass
class Search:
    """A search in progress.

    Attributes:
        attack: Whose first steps are the probes.
        ground: Gives the victim, in every process.
        recipe: What is known; its learning rate is ignored.
        seed: Seeds every candidate alike.
        place: Where states are kept.
        means: What probes run with, and within which limits.
        allowance: Share of the attack's own simulated steps that all probes together may take.
        tried: Candidates so far.
        steps: Simulated steps of a probe of the last round.
        rungs: Attack steps of a probe in each round.
        expected: Attack steps of all probes, as far as can be predicted.
    """

    attack: Attack
    ground: Callable[[], Victim]
    recipe: Recipe
    seed: int
    place: Place
    means: Means = field(default_factory=Means)
    allowance: float = ALLOWANCE / (1 - ALLOWANCE)
    tried: list[Candidate] = field(default_factory=list)
    steps: int = EPOCHS[-1]
    rungs: tuple[int, ...] = RUNGS
    expected: int = 1

    def plan(self, axes: Axes) -> None:
        """Choose how many steps probes simulate and how long they are, so that all stay within the allowance."""
        steps = [dataclasses.replace(self.recipe, batch_size=b, epochs=1).steps for b, _ in axes.shapes]
        tries = len(TRAVELS) * len(axes.optimizers)
        cheap = RUNGS[0] * EPOCHS[0] * (tries * steps[0] + 3 * sum(steps[1:]))
        cheap += RUNGS[1] * EPOCHS[1] * (len(axes.optimizers) * steps[0] + max(steps[1:], default=0))
        limit = self.allowance * self.attack.iterations * self.recipe.steps
        self.steps = max(int((limit - cheap) / RUNGS[2]), EPOCHS[1] * steps[0])
        share = min(limit / (cheap + RUNGS[2] * self.steps), 1.0)
        self.rungs = tuple(max(SHORTEST, min(int(length * share), self.attack.iterations)) for length in RUNGS)
        self.expected = self.rungs[0] * (tries + 3 * len(steps[1:])) + 2 * self.rungs[1] + self.rungs[2]

    def epochs(self, recipe: Recipe, rung: int) -> int:
        """Return how many epochs of a recipe a probe simulates."""
        most = max(1, self.steps // recipe.batches) if rung == len(EPOCHS) - 1 else EPOCHS[rung]
        return min(most, EPOCHS[rung], recipe.epochs)

    def attempt(self, asked: Sequence[Try], rung: int, start: Candidate | None = None) -> list[Candidate]:
        """Try recipes that do not depend on each other, from noise or where another one ended."""
        done = sum(candidate.steps for candidate in self.tried)
        together = Together(self.means.listener, done, self.expected)
        works = (self._work(*one, rung, start) for one in asked)
        outcomes = self.means.executor.map(partial(carry_out, self.ground), works, together)
        classes = self.ground().categories
        found = [
            _candidate(recipe, rung, number, outcome, classes)
            for number, ((recipe, _), outcome) in enumerate(zip(asked, outcomes, strict=True), len(self.tried))
        ]
        self.tried += found
        return found

    def _work(self, recipe: Recipe, fit: bool, rung: int, start: Candidate | None) -> Work:
        probe = self._probe(self.rungs[rung], fit)
        short = dataclasses.replace(recipe, epochs=self.epochs(recipe, rung), warmup=0)
        short = dataclasses.replace(short, lr=recipe.travel / _unit(short))
        job = self.place(probe, short, f"round {rung}", repr(start), seed=self.seed)
        label = f"{recipe.optimizer}, batch {min(recipe.batch_size, recipe.size)}, lr {recipe.lr:.3g}"
        state = start.state if start else None
        return Work(probe, short, self.seed, job, self.means.limits, state, label=label, probe=True)

    def _probe(self, steps: int, fit: bool) -> Attack:
        probe = dataclasses.replace(self.attack, iterations=steps)
        if "warmup" in self.attack.__dataclass_fields__:
            warmup = min(getattr(self.attack, "warmup"), steps // 2)  # noqa: B009 - not every attack has one
            probe = dataclasses.replace(probe, warmup=warmup)
        if fit and "fit_lr" in self.attack.__dataclass_fields__:
            return dataclasses.replace(probe, fit_lr=True)
        return probe

    def at(self, travel: float, optimizer: Optimizer, shape: tuple[int, int], shrink: float) -> Recipe:
        """Return the recipe of a travel: its learning rate, and the decay that shrinks the weights as measured."""
        batch_size, epochs = shape
        recipe = dataclasses.replace(
            self.recipe, lr=1.0, optimizer=optimizer, batch_size=batch_size, epochs=epochs,
            momentum=self.recipe.momentum if optimizer == "sgd" else 0.0,
        )  # fmt: skip
        decay = recipe.weight_decay if shrink >= 1 else -math.log(shrink) / travel
        return dataclasses.replace(recipe, lr=travel / _unit(recipe), weight_decay=decay)


def search(found: Search, axes: Axes) -> Candidate | None:
    """Return the best recipe, ``None`` if no candidate completed; all of them are then in ``found.tried``.

    Raises:
        Unsupported: The attack cannot treat this victim.
    """
    found.plan(axes)
    for optimizer in axes.optimizers:
        _coarse(found, axes, optimizer)
    leader = best([best([c for c in found.tried if c.family[0] == o]) for o in axes.optimizers])
    if leader is None:
        return None
    for shape in axes.shapes[1:]:
        if found.means.limits.deadline.over:
            break
        travel, optimizer = leader.recipe.travel, leader.recipe.optimizer
        factors = (1 / STRIDE, 1.0, STRIDE) if axes.fits(leader) else (1.0,)
        found.attempt([(found.at(travel * factor, optimizer, shape, axes.shrink), False) for factor in factors], 0)
    if not axes.fits(leader):  # the rounds that follow fit the learning rate, which is known
        return axes.settled(preferred(found.tried, axes) or leader)
    heads = promoted(found.tried, axes)
    fitted = found.attempt([(head.recipe, axes.fits(head)) for head in heads], 1)
    second = preferred(fitted, axes)
    if second is None:
        return leader if axes.fits(leader) else axes.settled(leader)
    (last,) = found.attempt([(second.recipe, axes.fits(second))], 2, start=second)
    final = last if last.complete and last.cosine <= CREDIBLE else second
    return final if axes.fits(final) else axes.settled(final)


def _coarse(found: Search, axes: Axes, optimizer: Optimizer) -> None:
    shape = axes.shapes[0]
    if optimizer != "sgd" and axes.travel is not None:
        grid: Sequence[float] = (axes.travel / NEAR, axes.travel, axes.travel * NEAR)
    elif optimizer != "sgd":
        grid = [travel / 30 for travel in TRAVELS]
    else:
        grid = TRAVELS
    tried = found.attempt([(found.at(travel, optimizer, shape, axes.shrink), False) for travel in grid], 0)
    while (further := _beyond(tried)) is not None:
        tried += found.attempt([(found.at(further, optimizer, shape, axes.shrink), False)], 0)


def _beyond(tried: Sequence[Candidate]) -> float | None:
    """Return the next travel outside ``tried`` where even its end makes the change too short or too long."""
    ordered = sorted(tried, key=lambda candidate: candidate.recipe.travel)
    low, high = ordered[0], ordered[-1]
    leader = best(ordered)
    if leader is high and high.change_ratio < 1 and high.recipe.travel * STRIDE <= LIMITS[1]:
        return high.recipe.travel * STRIDE
    if leader is low and low.change_ratio > 1 and low.recipe.travel / STRIDE >= LIMITS[0]:
        return low.recipe.travel / STRIDE
    return None


def _unit(recipe: Recipe) -> float:
    """Return the travel of a recipe at learning rate 1."""
    return dataclasses.replace(recipe, lr=1.0).travel


def _candidate(recipe: Recipe, rung: int, number: int, outcome: Outcome, classes: int) -> Candidate:
    terms = outcome.state.terms
    cosine, ratio = terms.get("cosine", math.nan), terms.get("change_ratio", math.nan)
    loss = (ratio - 1) ** 2 + 2 * ratio * cosine
    usable = outcome.state.done and outcome.status != "diverged" and math.isfinite(loss)
    fitted = dataclasses.replace(recipe, lr=recipe.lr * terms.get("lr_factor", 1.0))
    return Candidate(
        recipe=fitted if usable else recipe,
        rung=rung,
        number=number,
        loss=loss if usable else math.inf,
        cosine=cosine,
        change_ratio=ratio,
        steps=outcome.steps,
        status=outcome.status,
        labels=_counts(outcome.state, classes),
        state=_rebased(outcome.state),
    )


def _counts(state: State, classes: int) -> tuple[int, ...]:
    labels = state.constants.get("labels")
    return () if labels is None else tuple(torch.bincount(labels, minlength=classes).tolist())


def _rebased(state: State) -> State:
    """Return a state whose fitted learning rate has become the recipe's own."""
    return dataclasses.replace(state, variables={k: v for k, v in state.variables.items() if k != LOG_LR})
