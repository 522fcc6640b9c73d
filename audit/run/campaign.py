"""A plan carried out: the first steps of every attack timed, then each attack run with each of its seeds."""

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ...attacks.contract.attack import Attack, State, Unsupported
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ..events import Event, Listener
from ..machine.alarm import TimeUp, alarm
from ..machine.executor import LOCAL, Executor, Together
from ..machine.memory import room
from ..machine.numerics import exact_numerics
from ..request import ScanRequest
from .drive import Budget, Outcome, Run, drive, shared
from .planner import Choice, seeds, settled
from .store import Job
from .work import SPREADING, Work, attempt, failure, moved

PROBE_STEPS, PROBE_SECONDS, PROBE_SHARE = 3, 10.0, 0.05
"""Steps that are timed of each attack; no further one after so many seconds or such a share of the time left."""

OVERRUN = 0.25
"""Share of all the time left that an attack may take longer than planned before it is given up."""


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
        end: :func:`time.monotonic` value at which even a step in progress is given up.
        listener: Hears what happens.
        executor: Where attacks run; their first steps are timed in this process.
        ground: Gives other processes their victim.
        ends: What other attacks may start from, by attack and seed: runs that came to the end of their schedule.
    """

    request: ScanRequest
    victim: Victim
    recipe: Recipe
    place: Place
    deadline: float
    listener: Listener
    executor: Executor = LOCAL
    end: float = math.inf
    ground: Callable[[], Victim] | None = None
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
                with exact_numerics(self.request.tf32):
                    choice = self._measured(choice, choice.attack, firsts, told)
            measured.append(choice)
        return self._split(measured)

    def carry_out(self, plan: Sequence[Choice]) -> tuple[list[Run], list[Choice]]:
        """Run what is planned, in order; return one run for each attack and seed, and what became of the plan."""
        runs: list[Run] = []
        carried: list[Choice] = []
        for wave in waves(plan):
            now = [self._wanted(choice, runs) for choice in wave]
            runs += self._runs(now, plan[len(carried) + len(now) :])
            carried += now
        return runs, carried

    def _wanted(self, choice: Choice, runs: Sequence[Run]) -> Choice:
        """Return a choice, left out where earlier runs make it needless."""
        if not (choice.runs and choice.optional and (why := settled(runs))):
            return choice
        self.listener(Event("skip", f"{choice.name}, as {why}"))
        return choice.dropped(why)

    def _measured(self, choice: Choice, attack: Attack, firsts: dict[str, State], told: "_Told") -> Choice:
        start, seed = firsts.get(choice.start_from), self.request.seed
        begun = self._early(choice, attack, seed)
        job = begun if begun.begun else None if start else self.place(attack, self.recipe, seed=seed)
        limit = min(PROBE_SECONDS, PROBE_SHARE * max(self.deadline - time.monotonic(), 0.0))
        budget = Budget(
            PROBE_STEPS, time.monotonic() + limit, memory=room(self.victim.like.device, self.request.max_memory)
        )
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
        closing = self._closing(attack, outcome.state)
        return self._estimated(choice, attack, outcome, told.pace(outcome), closing)

    def _closing(self, attack: Attack, state: State) -> float:
        """Return how long it takes to read off a reconstruction, if time is limited; at most, as long as is tried."""
        began = time.monotonic()
        alone = threading.current_thread() is not threading.main_thread()  # where no alarm would end it
        if math.isinf(self.deadline) or not state.step or alone:
            return 0.0
        limit = began + PROBE_SHARE * max(self.deadline - began, 0.0)
        with suppress(TimeUp, Exception), alarm(limit):  # what breaks here breaks again where it is reported
            attack.finish(self.victim, self.recipe, state)
        return time.monotonic() - began

    def _estimated(
        self, choice: Choice, attack: Attack, outcome: Outcome, pace: float | None, closing: float
    ) -> Choice:
        if pace is None:
            return dataclasses.replace(choice, closing=closing)
        over, count = outcome.state.done, len(seeds(attack, self.request))
        whole = outcome.seconds if over else pace * attack.iterations
        left = closing + (0.0 if over else pace * (attack.iterations - outcome.steps))
        known = {"seconds": whole * count, "left": left, "closing": closing, "memory": outcome.peak_bytes}
        return dataclasses.replace(choice, **known)  # type: ignore[arg-type]

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

    def _runs(self, wave: Sequence[Choice], rest: Sequence[Choice]) -> list[Run]:
        """Run a wave; return one run for each attack and seed, and one for each attack that was asked for in vain."""
        ground = self.ground or (lambda: self.victim)
        steps = [c.attack.iterations for c in wave if c.runs and c.attack for _ in seeds(c.attack, self.request)]
        together = Together(self.listener, total=sum(steps)) if self.executor.width > 1 else self.listener
        results = iter(self.executor.map(partial(attempt, ground), self._works(wave, rest), together))
        runs = []
        for choice in wave:
            if choice.runs and choice.attack:
                runs += [self._run(choice.attack, seed, next(results)) for seed in seeds(choice.attack, self.request)]
            elif choice.asked and choice.attack:
                runs.append(Run(choice.attack, self.request.seed, None, choice.reason))
        return runs

    def _works(self, wave: Sequence[Choice], rest: Sequence[Choice]) -> Iterator[Work]:
        waiting = [*self._waiting(wave), *self._waiting(rest)]
        for choice in wave:
            if choice.runs and choice.attack:
                self.listener(Event("attack", choice.name))
                for seed in seeds(choice.attack, self.request):
                    yield self._work(choice, choice.attack, seed, waiting)
                    waiting.pop(0)

    def _work(self, choice: Choice, attack: Attack, seed: int, waiting: Sequence[float | None]) -> Work:
        job, start = self._begin(choice, attack, seed)
        left = max(self.deadline - time.monotonic(), 0.0)
        seconds = min(share(left * min(self.executor.width, len(waiting)), waiting), left)
        shift = time.time() - time.monotonic()
        label = f"{choice.name}, seed {seed}" if self.request.restarts > 1 else ""
        return Work(
            attack,
            self.recipe,
            seed,
            job,
            start,
            seconds,
            until=time.time() + left,
            closing=choice.closing,
            overrun=max(choice.closing, OVERRUN * left),
            end=self.end + shift,
            memory=self.request.max_memory,
            tf32=self.request.tf32,
            label=label,
        )

    def _begin(self, choice: Choice, attack: Attack, seed: int) -> tuple[Job, State | None]:
        """Return where the state of a run belongs, and the end of another one that it begins with.

        A run that had to begin before the other one ended goes on as it began, though that ended since.
        """
        if not choice.start_from:
            return self.place(attack, self.recipe, seed=seed), None
        early = self._early(choice, attack, seed)
        if early.begun or (choice.start_from, seed) not in self.ends:
            return early, None
        before, start = self.ends[choice.start_from, seed]
        return self.place(attack, self.recipe, "from", repr(before), seed=seed), start

    def _early(self, choice: Choice, attack: Attack, seed: int) -> Job:
        return self.place(attack, self.recipe, "before the end of", choice.start_from, seed=seed)

    def _run(self, attack: Attack, seed: int, found: Outcome | str) -> Run:
        if isinstance(found, str):
            return Run(attack, seed, None, found)
        outcome = moved(found, self.victim.like.device)
        if outcome.state.done:
            self.ends[attack.name, seed] = attack, outcome.state
        return Run(attack, seed, outcome)


def waves(plan: Sequence[Choice]) -> Iterator[list[Choice]]:
    """Split a plan into parts whose attacks do not depend on each other: on where one ends, or on what one settles."""
    wave: list[Choice] = []
    for choice in plan:
        running = [other for other in wave if other.runs]
        starts = choice.start_from in [other.name for other in running]
        if starts or (choice.optional and any(other.card.exact for other in running)):
            yield wave
            wave = []
        wave.append(choice)
    yield wave


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
