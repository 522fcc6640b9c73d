"""A plan carried out: the first steps of every attack timed, then each attack run with each of its seeds."""

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from .. import MemauditError
from ..attacks.base import Attack, Recipe, State, Unsupported, Victim
from .drive import Budget, Outcome, Run, drive, shared
from .events import Event, Listener
from .meter import room
from .planner import Choice, seeds, settled
from .plugins import one_line
from .request import ScanRequest
from .store import Job

PROBE_STEPS, PROBE_SECONDS, PROBE_SHARE = 3, 10.0, 0.05
"""Steps that are timed of each attack; no further one after so many seconds or such a share of the time left."""


SPREADING = (MemauditError, OSError)
"""What ends the whole scan: everything that is not the fault of one attack."""


class Place(Protocol):
    """Where the state of an attack on a recipe belongs; ``more`` is what else tells it apart."""

    def __call__(self, attack: Attack, recipe: Recipe, *more: str, seed: int) -> Job:
        """Return the place."""
        ...


@dataclass
class Campaign:
    """All attacks on one victim.

    Attributes:
        request: What is asked: seeds and restarts.
        victim: What is attacked.
        recipe: How it was trained, complete.
        place: Where states are kept.
        deadline: :func:`time.monotonic` value of the end of all work; infinity for none.
        listener: Hears what happens.
        ends: What other attacks may start from, by attack and seed: runs that came to the end of their schedule.
    """

    request: ScanRequest
    victim: Victim
    recipe: Recipe
    place: Place
    deadline: float
    listener: Listener
    ends: dict[tuple[str, int], tuple[Attack, State]] = field(default_factory=dict)

    def measure(self, plan: Sequence[Choice]) -> list[Choice]:
        """Take and time the first steps of each attack that runs; leave out those that cannot treat this victim.

        The steps are kept: the attack goes on from them. Only those of an attack that is to start from another one's
        end are taken in vain.

        Raises:
            Interrupted: The user stopped it; the states are saved.
        """
        running = [choice.name for choice in plan if choice.runs]
        firsts: dict[str, State] = {}
        measured = []
        for choice in plan:
            if choice.runs and choice.attack:
                told = _Told(self.listener, PROBE_STEPS * running.index(choice.name), PROBE_STEPS * len(running))
                choice = self._measured(choice, choice.attack, firsts, told)
            measured.append(choice)
        return self._split(measured)

    def carry_out(self, plan: Sequence[Choice]) -> tuple[list[Run], list[Choice]]:
        """Run what is planned, in order; return one run for each attack and seed, and what became of the plan."""
        runs: list[Run] = []
        carried: list[Choice] = []
        for number, choice in enumerate(plan):
            if choice.runs and choice.optional and (why := settled(runs)):
                choice = choice.dropped(why)
                self.listener(Event("skip", f"{choice.name}, as {why}"))
            if choice.runs and choice.attack:
                runs += self._runs(choice, choice.attack, plan[number + 1 :])
            elif choice.asked and choice.attack:
                runs.append(Run(choice.attack, self.request.seed, None, choice.reason))
            carried.append(choice)
        return runs, carried

    def _measured(self, choice: Choice, attack: Attack, firsts: dict[str, State], told: "_Told") -> Choice:
        start, seed = firsts.get(choice.start_from), self.request.seed
        job = None if start else self.place(attack, self.recipe, seed=seed)
        limit = min(PROBE_SECONDS, PROBE_SHARE * max(self.deadline - time.monotonic(), 0.0))
        budget = Budget(PROBE_STEPS, time.monotonic() + limit, self._room())
        try:
            outcome = drive(attack, self.victim, self.recipe, seed, job=job, budget=budget, listener=told, finish=False)
        except Unsupported as error:
            return choice.dropped(str(error) if choice.asked else error.message)
        except SPREADING:
            raise
        except Exception as error:
            return choice.dropped(failure(error))
        firsts[choice.name] = outcome.state
        if not (start and shared(outcome.state, start)):
            choice = dataclasses.replace(choice, start_from="")
        return self._estimated(choice, attack, outcome, told.pace(outcome))

    def _room(self) -> float:
        return room(self.victim.like.device, self.request.max_memory)

    def _estimated(self, choice: Choice, attack: Attack, outcome: Outcome, pace: float | None) -> Choice:
        if pace is None:
            return choice
        over, count = outcome.state.done, len(seeds(attack, self.request))
        whole = outcome.seconds if over else pace * attack.iterations
        left = 0.0 if over else pace * (attack.iterations - outcome.steps)
        return dataclasses.replace(choice, seconds=whole * count, left=left, memory=outcome.peak_bytes)

    def _split(self, plan: Sequence[Choice]) -> list[Choice]:
        """Write into a plan what each attack may use of the time, as things stand before the first one."""
        seconds = self.deadline - time.monotonic()
        if not math.isfinite(seconds):
            return list(plan)
        result = []
        for number, choice in enumerate(plan):
            waiting, parts = self._waiting(plan[number:]), 0.0
            for place, _ in enumerate(self._waiting([choice])):
                parts += share(max(seconds - parts, 0.0), waiting[place:])
            seconds -= parts
            result.append(dataclasses.replace(choice, share=parts) if choice.runs else choice)
        return result

    def _waiting(self, plan: Sequence[Choice]) -> list[float | None]:
        """Return the estimated time of every run of a plan."""
        return [c.left for c in plan if c.runs and c.attack for _ in seeds(c.attack, self.request)]

    def _runs(self, choice: Choice, attack: Attack, rest: Sequence[Choice]) -> list[Run]:
        self.listener(Event("attack", choice.name))
        after, wanted = self._waiting(rest), seeds(attack, self.request)
        return [
            self._run(choice, attack, seed, [*[choice.left] * (len(wanted) - number), *after])
            for number, seed in enumerate(wanted)
        ]

    def _run(self, choice: Choice, attack: Attack, seed: int, waiting: Sequence[float | None]) -> Run:
        before, start = self.ends.get((choice.start_from, seed), (None, None))
        words = () if start is None else ("from", repr(before))
        now = time.monotonic()
        budget = Budget(deadline=now + share(max(self.deadline - now, 0.0), waiting), memory=self._room())
        try:
            outcome = drive(
                attack,
                self.victim,
                self.recipe,
                seed,
                job=self.place(attack, self.recipe, *words, seed=seed),
                budget=budget,
                listener=self.listener,
                start=start,
            )
        except Unsupported as error:
            return Run(attack, seed, None, str(error))
        except SPREADING:
            raise
        except Exception as error:
            return Run(attack, seed, None, failure(error))
        if outcome.state.done:
            self.ends[choice.name, seed] = attack, outcome.state
        return Run(attack, seed, outcome)


@dataclass
class _Told:
    """A listener that counts the timed steps of all attacks as one stage, and notes when each was taken."""

    listener: Listener
    before: int
    total: int
    times: list[float] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if event.stage == "warning":
            self.listener(event)
            return
        self.times.append(time.monotonic())
        step = self.before + len(self.times)
        self.listener(Event("plan", f"the first steps of {event.message}", step, self.total, event.values))

    def pace(self, outcome: Outcome) -> float | None:
        """Return the seconds of a step; the first one also pays for what is set up once."""
        if len(self.times) > 1:
            return (self.times[-1] - self.times[0]) / (len(self.times) - 1)
        return outcome.seconds / outcome.steps if outcome.steps else None


def failure(error: Exception) -> str:
    """Return in words what ended an attack that ought not to have ended; the others go on without it."""
    torch.cuda.empty_cache()
    return f"It failed ({one_line(error)})."


def share(seconds: float, waiting: Sequence[float | None]) -> float:
    """Return how much of ``seconds`` the first of several runs may use: half of them equally, half by estimate.

    What a run leaves unused is there when the next one asks.

    Args:
        seconds: Time left for all of them.
        waiting: Estimated time of each, the first one's first; ``None`` where it is unknown.
    """
    known = [value for value in waiting if value is not None]
    typical = sum(known) / len(known) if known else 1.0
    weights = [typical if value is None else value for value in waiting]
    part = weights[0] / sum(weights) if sum(weights) else 1 / len(weights)
    return seconds * 0.5 * (1 / len(weights) + part)
