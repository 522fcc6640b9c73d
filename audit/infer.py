"""The unknown learning rate: a short attack for each candidate, lowest early loss wins (SimuDy, section 3, Fig. 3).

The paper compares cosine losses. The cosine sees in which direction training went, but not how far, and candidates
near the right one differ by less than its noise. So candidates are compared by the relative squared error of the
simulated change, ``|change - delta|^2 / |delta|^2``, which the cosine distance c and the ratio of the norms r give as
``(r - 1)^2 + 2 r c``.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..attacks.base import Attack, Recipe, Victim
from .drive import Budget, Outcome, drive
from .events import Event, Listener, silence
from .store import Job

EARLY_STEPS = 50
"""Attack steps each candidate gets, as in the paper."""

STRIDE = 10**0.5
"""Ratio of neighbouring candidates."""

GRID = (0.01 / STRIDE, 0.01, 0.01 * STRIDE)
"""The first candidates; others follow outwards where these do not enclose the right one."""

LIMITS = (1e-5, 1.0)
"""How far candidates may go beyond the grid."""


@dataclass(frozen=True)
class Candidate:
    """One learning rate that was tried.

    Attributes:
        lr: The learning rate.
        loss: Relative squared error of the simulated change at the end of its schedule; infinite if it diverged or
            the budget ended it before.
        cosine: Cosine distance of the two changes then, the paper's early loss.
        change_ratio: Norm of the simulated change over the real one then.
        steps: Attack steps taken.
        status: How those steps ended.
    """

    lr: float
    loss: float
    cosine: float
    change_ratio: float
    steps: int
    status: str


@dataclass
class Search:
    """A search in progress.

    Attributes:
        probe: The attack with a whole schedule of ``EARLY_STEPS`` steps, so that the losses at its end compare.
        victim: What it attacks.
        recipe: All but the learning rate.
        seed: Seeds every candidate alike.
        job: Gives the place where a candidate's state is saved.
        deadline: :func:`time.monotonic` value at which to stop trying.
        listener: Hears one event a step.
        tried: Candidates so far.
    """

    probe: Attack
    victim: Victim
    recipe: Recipe
    seed: int
    job: Callable[[Attack, Recipe], Job]
    deadline: float = math.inf
    listener: Listener = silence
    tried: list[Candidate] = field(default_factory=list)

    def attempt(self, lr: float, expected: int) -> None:
        """Try one learning rate; ``expected`` is how many candidates there will be, for the progress shown."""
        recipe = dataclasses.replace(self.recipe, lr=lr)
        done, total = len(self.tried) * self.probe.iterations, expected * self.probe.iterations

        def told(event: Event) -> None:
            step = done + event.step
            self.listener(dataclasses.replace(event, message=f"lr {lr:.3g}", step=step, total=max(total, step)))

        outcome = drive(
            self.probe,
            self.victim,
            recipe,
            self.seed,
            job=self.job(self.probe, recipe),
            budget=Budget(deadline=self.deadline),
            listener=told,
            stage="search",
            finish=False,
        )
        self.tried.append(_candidate(lr, outcome))
        self.tried.sort(key=lambda candidate: candidate.lr)


def learning_rate(search: Search, grid: Sequence[float] = GRID) -> tuple[Recipe | None, tuple[Candidate, ...]]:
    """Return the recipe with the best learning rate (``None`` if no candidate completed), and all candidates by size.

    The grid is extended while all its simulated changes are too short or too long. One more candidate is tried where,
    by interpolation, the simulated change is as long as the real one. The loss alone decides.
    """
    for lr in grid:
        search.attempt(lr, len(grid) + 1)
    while (further := _beyond(search.tried)) is not None:
        search.attempt(further, len(search.tried) + 2)
    crossing = matching_length(search.tried)
    if crossing is not None:
        search.attempt(crossing, len(search.tried) + 1)
    best = min(search.tried, key=lambda candidate: candidate.loss)
    found = dataclasses.replace(search.recipe, lr=best.lr) if math.isfinite(best.loss) else None
    return found, tuple(search.tried)


def at_edge(lr: float, tried: Sequence[Candidate]) -> bool:
    """Return whether ``lr`` is the smallest or largest that was tried, so that the true one may lie beyond."""
    return bool(tried) and lr in (tried[0].lr, tried[-1].lr)


def _beyond(tried: Sequence[Candidate]) -> float | None:
    """Return the next learning rate outside ``tried`` where even its end makes the change too short or too long."""
    low, high = tried[0], tried[-1]
    if math.isfinite(high.loss) and high.change_ratio < 1 and high.lr * STRIDE <= LIMITS[1] * 1.01:
        return high.lr * STRIDE
    if math.isfinite(low.loss) and low.change_ratio > 1 and low.lr / STRIDE >= LIMITS[0] * 0.99:
        return low.lr / STRIDE
    return None


def matching_length(tried: Sequence[Candidate]) -> float | None:
    """Return the learning rate at which the simulated change is as long as the real one, interpolated in logarithms.

    ``None`` where no two neighbours bracket it, or where it is within 10 % of one that was tried.
    """
    usable = [c for c in tried if math.isfinite(c.loss) and 0 < c.change_ratio < math.inf]
    for a, b in itertools.pairwise(usable):
        if a.change_ratio <= 1 <= b.change_ratio and a.change_ratio < b.change_ratio:
            share = math.log(a.change_ratio) / (math.log(a.change_ratio) - math.log(b.change_ratio))
            lr = a.lr * (b.lr / a.lr) ** share
            return None if any(abs(math.log(lr / c.lr)) < math.log(1.1) for c in tried) else lr
    return None


def _candidate(lr: float, outcome: Outcome) -> Candidate:
    terms = outcome.state.terms
    cosine, ratio = terms.get("cosine", math.nan), terms.get("change_ratio", math.nan)
    loss = (ratio - 1) ** 2 + 2 * ratio * cosine
    usable = outcome.state.done and outcome.status != "diverged" and math.isfinite(loss)
    return Candidate(lr, loss if usable else math.inf, cosine, ratio, outcome.steps, outcome.status)


def probe_of(attack: Attack) -> Attack:
    """Return the attack with a schedule of the search's length."""
    return dataclasses.replace(attack, iterations=min(EARLY_STEPS, attack.iterations))
