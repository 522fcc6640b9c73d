"""The one loop that steps an attack: budget, resume, divergence, progress, saving."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import torch

from ... import MemauditError
from ...attacks.contract.attack import Attack, Fitting, Reconstruction, State
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ...attacks.simulation.plans import out_of_memory
from ..events import Event, Listener, silence
from ..machine import interrupt
from ..machine.alarm import TimeUp, alarm
from ..machine.clock import NEVER, Deadline
from ..machine.memory import PeakMemory, settle, trim
from .session import Session, opened
from .store import Job

SAVE_SECONDS = 2.0
"""A kill loses at most the work of this many seconds, or of one step where a step takes longer."""
SAVE_SHARE = 0.05
"""Saving takes at most this share of the time: a state that is slow to write is saved less often."""
AMPLE = 2
"""Where the limit leaves at least this many times the memory that a plan needs, memory is used for speed."""
EXPLOSION = 1e3
"""An attempt has diverged when its loss is this many times its first one."""

Result = TypeVar("Result")
Status = Literal["converged", "stalled", "budget_spent", "diverged"]


class Interrupted(MemauditError):
    """The user stopped the run; its state is saved."""

    exit_code: ClassVar[int] = 130


@dataclass(frozen=True)
class Budget:
    """What one run of an attack may use.

    Attributes:
        steps: Stop after this many steps in all; ``None`` for the attack's own schedule.
        deadline: No step begins that would not be over by then, if it takes as long as the last one, with the
            reconstruction read off.
        closing: Seconds that reading off the reconstruction is expected to take.
        end: Even a step or a read-out in progress is given up then.
        memory: Bytes, beyond those in use, that a step may take; infinity to go by what the machine has.
    """

    steps: int | None = None
    deadline: Deadline = NEVER
    closing: float = 0.0
    end: Deadline = NEVER
    memory: float = math.inf


@dataclass(frozen=True)
class Outcome:
    """The outcome of one attack run.

    Attributes:
        status: As in :data:`.results.Status`.
        steps: Updates of the dummies, over all sessions.
        seconds: Working time, over all sessions.
        peak_bytes: Largest memory peak of any session.
        curve: (step, loss) pairs.
        state: The last finite state.
        reconstruction: Read off that state; ``None`` where it was not asked for, no step was taken, or time was up.
    """

    status: Status
    steps: int
    seconds: float
    peak_bytes: int
    curve: tuple[tuple[int, float], ...]
    state: State
    reconstruction: Reconstruction | None = None


@dataclass(frozen=True)
class Run:
    """One attack with one seed, and its outcome.

    Attributes:
        attack: The stepper.
        seed: What seeded its draws.
        outcome: ``None`` where it cannot treat this victim.
        reason: Why it cannot, else empty.
    """

    attack: Attack
    seed: int
    outcome: Outcome | None
    reason: str = ""


def drive(
    attack: Attack,
    victim: Victim,
    recipe: Recipe,
    seed: int,
    *,
    job: Job | None = None,
    budget: Budget | None = None,
    listener: Listener = silence,
    stage: str = "attack",
    finish: bool = True,
    start: State | None = None,
) -> Outcome:
    """Step ``attack`` until its schedule or the budget ends or it diverges, resuming from ``job`` if it has a state.

    Args:
        attack: The stepper.
        victim: What it attacks.
        recipe: How the victim was trained, complete.
        seed: Seeds everything random.
        job: Where states are saved; ``None`` to keep none.
        budget: Limits; none by default.
        listener: Hears one :class:`Event` per step, and one where the run continues from a saved state.
        stage: The stage those events name.
        finish: Whether to read off the reconstruction at the end.
        start: A state of another run whose variables, labels and weight of the prior are taken over; ``None`` to
            begin from noise.

    Raises:
        Unsupported: The attack cannot treat this victim.
        Interrupted: On KeyboardInterrupt, after the state has been saved.
        StoreError: The state cannot be read or written.
    """
    budget = budget or Budget()
    meter = PeakMemory(victim.like.device)
    session = opened(attack, victim, recipe, seed, job, start)
    if isinstance(attack, Fitting) and not session.over:
        session.state = _fitted(attack, victim, recipe, session.state, budget)
    started = time.monotonic() - session.seconds

    def save() -> None:
        session.seconds = time.monotonic() - started
        session.peak_bytes = max(session.peak_bytes, meter.bytes())
        if job:
            job.save(session.state, session.extra())

    def report() -> None:
        total = attack.iterations if budget.steps is None else min(budget.steps, attack.iterations)
        values = {"loss": session.state.loss, **session.state.terms}
        listener(Event(stage, attack.name, session.state.step, total, values))

    def step() -> State:
        return _in_memory(attack, session.state, lambda state: attack.step(victim, recipe, state), listener)

    if not session.over:
        _tell_resumed(attack, session, listener)
        try:
            _loop(step, session, budget, save, report)
        except KeyboardInterrupt:
            save()
            raise Interrupted("Interrupted; the state is saved.", "Run the same command to resume.") from None
        save()
    reconstruction, late = None, False
    if finish and session.state.step:
        try:
            reconstruction = _read_off(attack, victim, recipe, session.state, budget.end, listener)
        except TimeUp:
            late = True
    state, curve = session.state, tuple((step, loss) for step, loss in session.curve)
    status: Status = "budget_spent" if late else _status(attack, session, reconstruction)
    return Outcome(status, state.step, session.seconds, session.peak_bytes, curve, state, reconstruction)


def _tell_resumed(attack: Attack, session: Session, listener: Listener) -> None:
    if session.resumed:
        listener(Event("resume", attack.name, session.state.step, attack.iterations))


def _fitted(attack: Fitting, victim: Victim, recipe: Recipe, state: State, budget: Budget) -> State:
    """Return the state with a plan that the memory suffices for; where there is more, it is used for speed."""
    if not state.step and budget.deadline.over:  # a plan takes a step to measure, and none will follow
        return state
    memory = budget.memory
    state = attack.fitted(victim, recipe, state, memory)
    if AMPLE * float(state.constants.get("bytes", math.inf)) <= memory < math.inf:
        trim(lean=False)
    return state


def _read_off(
    attack: Attack, victim: Victim, recipe: Recipe, state: State, end: Deadline, listener: Listener
) -> Reconstruction | None:
    """Return the reconstruction of a state, ``None`` where it is of no record. Raises :class:`TimeUp`."""
    listener(Event("finish", f"influence of each record of {attack.name}"))
    with alarm(end):
        found = _in_memory(attack, state, lambda state: attack.finish(victim, recipe, state), listener)
    return found if len(found.records) else None


def _in_memory(attack: Attack, state: State, work: Callable[[State], Result], listener: Listener) -> Result:
    """Return what work on a state gives, done with a smaller plan where memory runs out."""
    while True:
        try:
            return work(state)
        except Exception as error:
            less = attack.smaller(state) if out_of_memory(error) and isinstance(attack, Fitting) else None
            if less is None:
                raise
        state, name = less  # out here the failed work's tensors are gone
        torch.cuda.empty_cache()
        settle()
        listener(Event("warning", f"{attack.name} ran out of memory; it continues with adjoint={name}"))


def _loop(
    step: Callable[[], State],
    session: Session,
    budget: Budget,
    save: Callable[[], None],
    report: Callable[[], None],
) -> None:
    saved_at, pause, pace = time.monotonic(), SAVE_SECONDS, 0.0
    while not session.over:
        interrupt.check()
        began = time.monotonic()
        if budget.steps is not None and session.state.step >= budget.steps:
            return
        if budget.deadline.left <= pace + budget.closing:
            return
        try:
            with alarm(budget.end):
                following = step()
        except TimeUp:
            return
        pace = time.monotonic() - began
        if _exploded(following.loss, session.curve):
            session.diverged = True
            return
        session.curve.append((following.step, following.loss))
        session.state = following
        report()
        if time.monotonic() - saved_at >= pause:
            began = time.monotonic()
            save()
            saved_at = time.monotonic()
            pause = max(SAVE_SECONDS, (saved_at - began) / SAVE_SHARE)


def _exploded(loss: float, curve: list[tuple[int, float]]) -> bool:
    return not math.isfinite(loss) or bool(curve and loss > EXPLOSION * max(abs(curve[0][1]), 1e-6))


def _status(attack: Attack, session: Session, found: Reconstruction | None) -> Status:
    if session.diverged:
        return "diverged"
    if not session.state.done:
        return "budget_spent"
    loss = session.state.loss if found is None else found.loss
    doubted = found is not None and found.doubt
    return "converged" if loss <= attack.tolerance and not doubted else "stalled"
