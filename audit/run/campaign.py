"""A plan carried out: the first steps of every attack timed, then each attack run with each of its seeds."""

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from ...attacks.contract.attack import Attack, Starting, State, Uneven
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ..events import Event, Listener
from ..machine.alarm import TimeUp, alarm
from ..machine.clock import NEVER, Deadline
from ..machine.executor import Together
from ..machine.means import Means
from ..machine.memory import room
from ..machine.numerics import exact_numerics
from ..request import ScanRequest
from .drive import Budget, Outcome, Run, drive
from .failure import failure
from .planner import Choice, seeds, settled
from .session import shared
from .store import Job, Place
from .work import PROBE_STEPS, Turn, Work, attempt, moved

PROBE_SECONDS, PROBE_SHARE = 10.0, 0.05
"""Timing the first steps of an attack ends early after this many seconds or this share of the time left."""

OVERRUN = 0.25
"""Share of all the time left that an attack may take longer than planned before it is given up."""


@dataclass
class Campaign:
    """All attacks on one victim.

    Attributes:
        request: What is asked: seeds and restarts.
        ground: Gives the victim, in every process.
        recipe: How it was trained, complete.
        place: Where states are kept.
        means: What attacks run with, and within which limits; their first steps are timed in this process.
        ends: What other attacks may start from, by attack and seed: runs that came to the end of their schedule.
    """

    request: ScanRequest
    ground: Callable[[], Victim]
    recipe: Recipe
    place: Place
    means: Means
    ends: dict[tuple[str, int], tuple[Attack, State]] = field(default_factory=dict)

    @property
    def victim(self) -> Victim:
        """What is attacked."""
        return self.ground()

    @property
    def deadline(self) -> Deadline:
        """When no attack should be at work any more."""
        return self.means.limits.deadline

    def measure(self, plan: Sequence[Choice]) -> list[Choice]:
        """Take and time the first steps of each attack that runs; leave out those that cannot treat this victim.

        The steps are kept: the attack continues from them. Only an attack that is to start from another one's end takes
        its first steps again.

        Raises:
            Interrupted: The user stopped it; the states are saved.
        """
        running = [choice.name for choice in plan if choice.runs]
        firsts: dict[str, State] = {}
        measured = []
        for choice in plan:
            if choice.runs and choice.attack:
                told = _Told(self.means.listener, PROBE_STEPS * running.index(choice.name), PROBE_STEPS * len(running))
                with exact_numerics(self.means.limits.tf32):
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
        """Return a choice, left out where earlier runs made it unnecessary."""
        if not (choice.runs and choice.optional and (why := settled(runs))):
            return choice
        self.means.listener(Event("skip", f"{choice.name}, as {why}"))
        return choice.dropped(why)

    def _measured(self, choice: Choice, attack: Attack, firsts: dict[str, State], told: "_Told") -> Choice:
        start, seed = firsts.get(choice.start_from), self.request.seed
        begun = self._early(choice, attack, seed)
        job = begun if begun.begun else None if start else self.place(attack, self.recipe, seed=seed)
        limit = Deadline.after(min(PROBE_SECONDS, PROBE_SHARE * self.deadline.left))
        budget = Budget(PROBE_STEPS, limit, memory=room(self.victim.like.device, self.means.limits.memory))
        try:
            outcome = drive(attack, self.victim, self.recipe, seed, job=job, budget=budget, listener=told, finish=False)
        except Exception as error:
            why = failure(error)
            return choice.dropped(str(why) if choice.asked else why.message)
        firsts[choice.name] = outcome.state
        if not (start and (isinstance(attack, Starting) or shared(outcome.state, start))):
            choice = dataclasses.replace(choice, start_from="")
        closing = self._closing(attack, outcome.state)
        return self._estimated(choice, attack, outcome, told.pace(outcome), closing)

    def _closing(self, attack: Attack, state: State) -> float:
        """Return how long it takes to read off a reconstruction, if time is limited; cut short where it takes long."""
        alone = threading.current_thread() is not threading.main_thread()  # where no alarm would end it
        if self.deadline == NEVER or not state.step or alone:
            return 0.0
        began, limit = time.monotonic(), Deadline.after(PROBE_SHARE * self.deadline.left)
        with suppress(TimeUp, Exception), alarm(limit):  # what breaks here breaks again where it is reported
            attack.finish(self.victim, self.recipe, state)
        return time.monotonic() - began

    def _estimated(
        self, choice: Choice, attack: Attack, outcome: Outcome, pace: float | None, closing: float
    ) -> Choice:
        if pace is None:
            return dataclasses.replace(choice, closing=closing)
        over, count = outcome.state.done, len(seeds(attack, self.request))
        pace *= attack.slowdown(self.recipe) if isinstance(attack, Uneven) else 1.0
        whole = outcome.seconds if over else pace * attack.iterations
        left = closing + (0.0 if over else pace * (attack.iterations - outcome.steps))
        known = {"seconds": whole * count, "left": left, "closing": closing, "memory": outcome.peak_bytes}
        return dataclasses.replace(choice, **known)  # type: ignore[arg-type]

    def _split(self, plan: Sequence[Choice]) -> list[Choice]:
        """Write into a plan what each attack may use of the time, as things stand before the first one."""
        seconds = self.deadline.left
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
        """Run a wave; return one run for each attack and seed, and one for each that was asked for but cannot run."""
        listener, executor = self.means.listener, self.means.executor
        steps = [c.attack.iterations for c in wave if c.runs and c.attack for _ in seeds(c.attack, self.request)]
        together = Together(listener, total=sum(steps)) if executor.width > 1 else listener
        results = iter(executor.map(partial(attempt, self.ground), self._works(wave, rest), together))
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
                self.means.listener(Event("attack", choice.name))
                for seed in seeds(choice.attack, self.request):
                    yield self._work(choice, choice.attack, seed, waiting)
                    waiting.pop(0)

    def _work(self, choice: Choice, attack: Attack, seed: int, waiting: Sequence[float | None]) -> Work:
        job, start = self._begin(choice, attack, seed)
        left = self.deadline.left
        seconds = min(share(left * min(self.means.executor.width, len(waiting)), waiting), left)
        turn = Turn(seconds, choice.closing, overrun=max(choice.closing, OVERRUN * left))
        label = f"{choice.name}, seed {seed}" if self.request.restarts > 1 else ""
        return Work(attack, self.recipe, seed, job, self.means.limits, start, turn, label)

    def _begin(self, choice: Choice, attack: Attack, seed: int) -> tuple[Job, State | None]:
        """Return where the state of a run belongs, and the end of another one that it begins with.

        A run that began before the other one had ended resumes as it began, even if the other one has ended since.
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
        if event.stage == "resume":  # told when the run itself goes on
            return
        if event.stage == "warning":
            self.listener(event)
            return
        self.times.append(time.monotonic())
        step = self.before + len(self.times)
        self.listener(Event("plan", event.message, step, self.total, event.values))

    def pace(self, outcome: Outcome) -> float | None:
        """Return seconds per step; the first step is left out, as it includes what is set up once."""
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
