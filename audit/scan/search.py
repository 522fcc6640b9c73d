"""The unknown recipe: short attacks on candidate recipes, the lowest early loss wins (SimuDy, section 3 and Fig. 3).

The paper compares cosine losses over learning rates, for one batch size at a time. Three things are done differently:

- The cosine does not see how far training went. Candidates are compared by the relative squared error of the simulated
  change, ``|change - delta|^2 / |delta|^2``, which the cosine distance c and the ratio of norms r give as
  ``(r - 1)^2 + 2 r c``.
- What a parameter change tells is the *travel*, learning rate times steps (:attr:`.Recipe.travel`), hardly the two
  apart. So candidates of any epochs and batch size are compared at equal travel, and fewer epochs are simulated.
- Successive halving: many candidates get a few attack steps, the best more, with the learning rate fitted along
  (by its hypergradient and the ratio of norms), and the best of those a whole probe.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from ...attacks.contract.attack import Attack, State
from ...attacks.contract.recipe import Optimizer, Recipe
from ...attacks.contract.victim import Victim
from ...attacks.simudy import LOG_LR
from ..events import Listener, silence
from ..machine.executor import LOCAL, Executor, Together
from ..run.drive import Outcome
from ..run.store import Job
from ..run.work import Work, carry_out

RUNGS = (8, 20, 25)
"""Attack steps of a candidate in each round; the last goes on where the second ended, to some 50 as in the paper."""

SHORTEST = 5
"""No probe is shorter, however small the budget."""

EPOCHS = (2, 3, 20)
"""Most epochs that a probe of each round simulates: few steps are cheap and never unstable, many are faithful."""

STRIDE = 10**0.5
"""Ratio of neighbouring learning rates on the coarse grid."""

TRAVELS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Coarse grid of SGD: sums of learning rates over training; extended outwards if it does not enclose the right one."""

LIMITS = (3e-4, 30.0)
"""How far the grid may be extended."""

NEAR = 2.0
"""Ratio of neighbours on the grid of Adam, around the travel that the change shows."""

ALLOWANCE = 0.15
"""Largest share of a scan's simulated steps that the search may take."""

CREDIBLE = 0.05
"""A fit over many steps counts where it explains the change to this cosine distance. Elsewhere (wrong labels, unknown
shuffling) it makes up for what it cannot explain with a longer training, and the fit over few steps is nearer."""

MARGIN = 0.9
"""A batch size other than the first must have less than this share of its loss to be preferred."""


@dataclass(frozen=True)
class Candidate:
    """One recipe that was tried.

    Attributes:
        recipe: The whole training; its learning rate is the fitted one where it was fitted.
        rung: Round of the search, from 0.
        number: Its place in the order in which they were tried.
        loss: Relative squared error of the simulated change at the end of its schedule; infinite if it diverged or
            the budget ended it before.
        cosine: Cosine distance of the two changes then, the paper's early loss.
        change_ratio: Norm of the simulated change over the real one then.
        steps: Attack steps taken.
        status: How those steps ended.
        labels: Samples of each class at the end.
        state: Where the probe ended.
    """

    recipe: Recipe
    rung: int
    number: int
    loss: float
    cosine: float
    change_ratio: float
    steps: int
    status: str
    labels: tuple[int, ...] = ()
    state: State | None = field(default=None, compare=False, repr=False)

    @property
    def family(self) -> tuple[str, int, int]:
        """What a curve of the search has in common: all but the learning rate."""
        return self.recipe.optimizer, self.recipe.batch_size, self.recipe.epochs

    @property
    def complete(self) -> bool:
        """Whether its loss counts."""
        return math.isfinite(self.loss)


@dataclass(frozen=True)
class Axes:
    """What is unknown beside the learning rate; the first of each is the likeliest.

    Attributes:
        optimizers: Update rules to try.
        shapes: (batch size, epochs) to try.
        travel: Where the change itself tells the sum of learning rates (Adam), that; else ``None``.
        shrink: Factor by which weight decay shrank the weights; 1 for none. Each candidate gets the decay that does.
    """

    optimizers: tuple[Optimizer, ...]
    shapes: tuple[tuple[int, int], ...]
    travel: float | None = None
    shrink: float = 1.0

    def fits(self, candidate: Candidate) -> bool:
        """Return whether a probe can tell the learning rate better than the change itself."""
        return candidate.recipe.optimizer == "sgd" or self.travel is None

    def settled(self, candidate: Candidate) -> Candidate:
        """Return a candidate at the travel that the change itself tells."""
        recipe = candidate.recipe
        lr = recipe.lr * (self.travel or recipe.travel) / recipe.travel
        return dataclasses.replace(candidate, recipe=dataclasses.replace(recipe, lr=lr))


Try = tuple[Recipe, bool]
"""A recipe to try, and whether its learning rate is fitted from there or stays."""


@dataclass
class Search:
    """A search in progress.

    Attributes:
        attack: Whose first steps are the probes.
        victim: What it attacks.
        recipe: What is known; its learning rate is ignored.
        seed: Seeds every candidate alike.
        job: Gives the place of a candidate's state from its attack, its recipe and what else tells it apart.
        allowance: Share of the attack's own simulated steps that all probes together may take.
        deadline: :func:`time.monotonic` value at which to stop trying.
        listener: Hears one event a step.
        executor: Where probes run.
        ground: Gives other processes their victim.
        memory: Bytes that the process may take; ``None`` for no limit.
        tf32: Whether probes may compute in TF32.
        tried: Candidates so far.
        steps: Simulated steps of a probe of the last round.
        rungs: Attack steps of a probe in each round.
        expected: Attack steps of all probes, as far as can be foreseen.
    """

    attack: Attack
    victim: Victim
    recipe: Recipe
    seed: int
    job: Callable[..., Job]
    allowance: float = ALLOWANCE / (1 - ALLOWANCE)
    deadline: float = math.inf
    listener: Listener = silence
    executor: Executor = LOCAL
    ground: Callable[[], Victim] | None = None
    memory: float | None = None
    tf32: bool = False
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
        together = Together(self.listener, done, self.expected)
        works = (self._work(*one, rung, start) for one in asked)
        ground = self.ground or (lambda: self.victim)
        outcomes = self.executor.map(partial(carry_out, ground), works, together)
        found = [
            _candidate(recipe, rung, number, outcome, self.victim.categories)
            for number, ((recipe, _), outcome) in enumerate(zip(asked, outcomes, strict=True), len(self.tried))
        ]
        self.tried += found
        return found

    def _work(self, recipe: Recipe, fit: bool, rung: int, start: Candidate | None) -> Work:
        probe = self._probe(self.rungs[rung], fit)
        short = dataclasses.replace(recipe, epochs=self.epochs(recipe, rung), warmup=0)
        short = dataclasses.replace(short, lr=recipe.travel / _unit(short))
        until = time.time() + self.deadline - time.monotonic()
        return Work(
            probe,
            short,
            self.seed,
            self.job(probe, short, f"round {rung}", repr(start)),
            start=start.state if start else None,
            until=until,
            end=until,
            memory=self.memory,
            tf32=self.tf32,
            stage="search",
            label=f"{recipe.optimizer}, batch {min(recipe.batch_size, recipe.size)}, lr {recipe.lr:.3g}",
            finish=False,
        )

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
    leader = _best([_best([c for c in found.tried if c.family[0] == o]) for o in axes.optimizers])
    if leader is None:
        return None
    for shape in axes.shapes[1:]:
        if time.monotonic() >= found.deadline:
            break
        travel, optimizer = leader.recipe.travel, leader.recipe.optimizer
        factors = (1 / STRIDE, 1.0, STRIDE) if axes.fits(leader) else (1.0,)
        found.attempt([(found.at(travel * factor, optimizer, shape, axes.shrink), False) for factor in factors], 0)
    if not axes.fits(leader):  # the rounds that follow fit the learning rate, which is known
        return axes.settled(_preferred(found.tried, axes) or leader)
    promoted = _promoted(found.tried, axes)
    fitted = found.attempt([(head.recipe, axes.fits(head)) for head in promoted], 1)
    second = _preferred(fitted, axes)
    if second is None:
        return leader if axes.fits(leader) else axes.settled(leader)
    (last,) = found.attempt([(second.recipe, axes.fits(second))], 2, start=second)
    best = last if last.complete and last.cosine <= CREDIBLE else second
    return best if axes.fits(best) else axes.settled(best)


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
    best = _best(ordered)
    if best is high and high.change_ratio < 1 and high.recipe.travel * STRIDE <= LIMITS[1]:
        return high.recipe.travel * STRIDE
    if best is low and low.change_ratio > 1 and low.recipe.travel / STRIDE >= LIMITS[0]:
        return low.recipe.travel / STRIDE
    return None


def _best(candidates: Sequence[Candidate | None]) -> Candidate | None:
    complete = [candidate for candidate in candidates if candidate and candidate.complete]
    return min(complete, key=lambda candidate: candidate.loss) if complete else None


def _promoted(candidates: Sequence[Candidate], axes: Axes) -> list[Candidate]:
    """Return the best of each optimiser with the first shape, and the best of all where another shape beats them."""
    heads = [
        head
        for optimizer in axes.optimizers
        if (head := _best([c for c in candidates if c.family == (optimizer, *axes.shapes[0])]))
    ]
    best = _best(candidates)
    if best and (not heads or best.loss < MARGIN * min(head.loss for head in heads)):
        heads.append(best)
    return heads


def _preferred(candidates: Sequence[Candidate], axes: Axes) -> Candidate | None:
    """Return the best candidate; the first batch size where another is hardly better."""
    best = _best(candidates)
    first = _best([c for c in candidates if c.family[1:] == axes.shapes[0]])
    if best and first and best.family[0] == first.family[0] and best.loss > MARGIN * first.loss:
        return first
    return best


def at_edge(chosen: Candidate, tried: Sequence[Candidate]) -> bool:
    """Return whether the travel found lies outside all that was tried on the coarse grid."""
    grid = [c.recipe.travel for c in tried if c.rung == 0 and c.recipe.optimizer == chosen.recipe.optimizer]
    return bool(grid) and not min(grid) <= chosen.recipe.travel <= max(grid)


def spread(chosen: Candidate, tried: Sequence[Candidate]) -> float:
    """Return the factor by which the learning rate may be off: what the fits differ by, and at least a quarter."""
    fits = [c.recipe.travel for c in tried if c.rung and c.complete and c.family == chosen.family]
    return max([1.25, *(max(fit, chosen.recipe.travel) / min(fit, chosen.recipe.travel) for fit in fits)])


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
