"""The unknown learning rate: a short attack for each candidate, lowest early loss wins (SimuDy, section 3, Fig. 3)."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..attacks.base import Attack, Recipe, Victim
from .drive import Budget, Outcome, drive
from .events import Event, Listener, silence
from .store import Job

EARLY_STEPS = 50
"""Attack steps each candidate gets, as in the paper."""

GRID = tuple(10 ** (-3 + i / 2) for i in range(5))
"""Candidates, half a decade apart from 0.001 to 0.1."""


@dataclass(frozen=True)
class Candidate:
    """One learning rate that was tried.

    Attributes:
        lr: The learning rate.
        loss: Lowest attacker-visible loss of its early steps; infinite if it diverged at once.
        change_ratio: Norm of the simulated parameter change over the real one, at the last step.
        steps: Attack steps taken.
        status: How those steps ended.
    """

    lr: float
    loss: float
    change_ratio: float
    steps: int
    status: str


def learning_rate(
    attack: Attack,
    victim: Victim,
    recipe: Recipe,
    seed: int,
    *,
    job: Callable[[Attack, Recipe], Job],
    deadline: float = math.inf,
    listener: Listener = silence,
    grid: Sequence[float] = GRID,
) -> tuple[Recipe, tuple[Candidate, ...]]:
    """Return ``recipe`` with the best learning rate, and all candidates in increasing order.

    Every candidate gets a whole schedule of ``EARLY_STEPS`` steps. The cosine loss does not see how far training
    went, only in which direction; the norm of the change does. So one more candidate is tried where, by interpolation
    between the grid's points, the simulated change is as long as the real one. The loss alone decides.

    Args:
        attack: What to probe with.
        victim: What it attacks.
        recipe: All but the learning rate.
        seed: Seeds every candidate alike.
        job: Gives the place where a candidate's state is saved.
        deadline: :func:`time.monotonic` value at which to stop trying.
        listener: Hears one event a step.
        grid: Candidates in increasing order.
    """
    probe = dataclasses.replace(attack, iterations=min(EARLY_STEPS, attack.iterations))
    total = (len(grid) + 1) * probe.iterations
    tried: list[Candidate] = []

    def attempt(lr: float) -> None:
        candidate = dataclasses.replace(recipe, lr=lr)
        done = len(tried) * probe.iterations

        def scaled(event: Event) -> None:
            step = done + event.step
            listener(dataclasses.replace(event, message=f"lr {lr:.3g}", step=step, total=total))

        outcome = drive(
            probe,
            victim,
            candidate,
            seed,
            job=job(probe, candidate),
            budget=Budget(deadline=deadline),
            listener=scaled,
            stage="search",
            finish=False,
        )
        tried.append(_candidate(lr, outcome))

    for lr in grid:
        attempt(lr)
    crossing = matching_length(tried)
    if crossing is not None:
        attempt(crossing)
    best = min(tried, key=lambda candidate: candidate.loss)
    return dataclasses.replace(recipe, lr=best.lr), tuple(sorted(tried, key=lambda candidate: candidate.lr))


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
    loss = min((loss for _, loss in outcome.curve), default=math.inf)
    ratio = outcome.state.terms.get("change_ratio", math.nan)
    return Candidate(lr, loss, ratio, outcome.steps, outcome.status)
