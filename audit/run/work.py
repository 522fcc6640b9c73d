"""One attack run as a piece of work that any process can take up, and resume where another one was killed."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...attacks.contract.attack import Attack, State
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ..events import Event, Listener
from ..machine.clock import Deadline
from ..machine.means import Limits
from ..machine.memory import room
from .drive import Budget, Outcome, drive
from .failure import failure
from .store import Job

PROBE_STEPS = 3
"""Steps of each attack that are timed before any of them runs on; a run that has no more is hardly begun."""


@dataclass(frozen=True)
class Turn:
    """How long a piece of work may take from when it begins, as it may have to wait for its turn.

    Attributes:
        seconds: No step begins that would not be over by then, with the reconstruction read off.
        closing: Seconds that reading off the reconstruction is expected to take.
        overrun: Even a step in progress is given up this many seconds later.
    """

    seconds: float = math.inf
    closing: float = 0.0
    overrun: float = math.inf


@dataclass(frozen=True)
class Work:
    """One attack with one seed.

    Attributes:
        attack: The stepper.
        recipe: How the victim was trained, complete.
        seed: Seeds everything random.
        job: Where its state is kept; all machines must see that folder for a lost run to continue elsewhere.
        limits: Those of all work.
        start: A state to take over; see :func:`.drive.drive`.
        turn: Its own time.
        label: What its events call it; the attack's name by default.
        probe: Whether its steps belong to the search for the recipe, which needs no reconstruction.
    """

    attack: Attack
    recipe: Recipe
    seed: int
    job: Job
    limits: Limits = field(default_factory=Limits)
    start: State | None = None
    turn: Turn = Turn()
    label: str = ""
    probe: bool = False


def carry_out(ground: Callable[[], Victim], work: Work, listener: Listener) -> Outcome:
    """Do a piece of work in this process; the numbers that it returns are on the CPU.

    Raises:
        Unsupported: The attack cannot treat this victim.
        Interrupted: The user stopped it; the state is saved.
    """
    victim, label = ground(), work.label or work.attack.name
    device = victim.like.device

    def told(event: Event) -> None:
        if event.stage != "resume":
            listener(dataclasses.replace(event, message=label) if event.step else event)
        elif event.step > PROBE_STEPS and not work.probe:
            listener(Event("resume", f"{label} at {event.step} of {event.total}"))

    with work.limits.kept(device):
        outcome = drive(
            work.attack,
            victim,
            work.recipe,
            work.seed,
            job=work.job,
            budget=_budget(work, device),
            listener=told,
            stage="search" if work.probe else "attack",
            finish=not work.probe,
            start=None if work.start is None else _state(work.start, device),
        )
    return moved(outcome, torch.device("cpu"))


def _budget(work: Work, device: torch.device) -> Budget:
    """Return what a piece of work may use that begins now."""
    turn, limits = work.turn, work.limits
    return Budget(
        deadline=min(Deadline.after(turn.seconds), limits.deadline),
        closing=turn.closing,
        end=min(Deadline.after(turn.seconds + turn.overrun), limits.end),
        memory=room(device, limits.memory),
    )


def attempt(ground: Callable[[], Victim], work: Work, listener: Listener) -> Outcome | str:
    """Do a piece of work; return in words why it could not be done, unless that ends the whole scan."""
    try:
        return carry_out(ground, work, listener)
    except Exception as error:
        return str(failure(error))


def moved(outcome: Outcome, device: torch.device) -> Outcome:
    """Return an outcome with its numbers on another device; labels and the like stay where they are."""
    found = outcome.reconstruction
    if found is not None:
        numbers = {name: value for name, value in vars(found).items() if isinstance(value, Tensor)}
        numbers = {name: value for name, value in numbers.items() if value.is_floating_point()}
        found = dataclasses.replace(found, **_on(numbers, device))  # type: ignore[arg-type]
    return dataclasses.replace(outcome, state=_state(outcome.state, device), reconstruction=found)


def _state(state: State, device: torch.device) -> State:
    """Return a state on another device; its constants stay on the CPU."""
    return dataclasses.replace(state, variables=_on(state.variables, device), memory=_on(state.memory, device))


def _on(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in tensors.items()}
