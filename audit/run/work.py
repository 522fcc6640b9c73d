"""One attack run as a piece of work that any process can take up, and go on with where another one was killed."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ... import MemauditError
from ...attacks.contract.attack import Attack, State, Unsupported
from ...attacks.contract.medium import Medium
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ...attacks.simulation.plans import out_of_memory
from ..checkpoints.pair import CheckpointPair
from ..events import Event, Listener
from ..families.detect import detect
from ..families.victim import victim as make_victim
from ..machine.memory import ceiling, room
from ..machine.numerics import exact_numerics
from ..plugins import one_line
from .drive import Budget, Outcome, drive
from .store import Job

SPREADING = (MemauditError, OSError)
"""What ends the whole scan: everything that is not the fault of one attack."""


@dataclass(frozen=True)
class Ground:
    """What an attack stands on; it travels to other processes as tensors and words, never as code.

    Attributes:
        pair: The two checkpoints.
        model: As in :class:`.request.ScanRequest`; where that names a file, every machine must have it.
        image_size: The same.
        medium: What records the network's inputs stand for.
        masked: Parameters that are not compared.
        device: Where the tensors go.
        victim: What was made of all this; each process makes its own.
    """

    pair: CheckpointPair
    model: str
    image_size: int | None
    medium: Medium
    masked: frozenset[str]
    device: str
    victim: Victim | None = None

    def __call__(self) -> Victim:
        """Return the victim."""
        if self.victim is not None:
            return self.victim
        architecture, module = detect(self.pair.after.tensors, self.model, self.image_size)
        device = torch.device(self.device)
        return make_victim(self.pair, architecture, module, self.medium, device, self.masked)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "victim": None}


@dataclass(frozen=True)
class Work:
    """One attack with one seed.

    Attributes:
        attack: The stepper.
        recipe: How the victim was trained, complete.
        seed: Seeds everything random.
        job: Where its state is kept; all machines must see that folder for a lost run to go on elsewhere.
        start: A state to take over; see :func:`.drive.drive`.
        seconds: What it may use, from when it begins.
        until: :func:`time.time` value at which it ends all the same.
        closing: Of these, seconds to read off the reconstruction.
        overrun: Seconds beyond ``seconds`` after which even a step in progress is given up.
        end: :func:`time.time` value at which that is given up in any case.
        memory: Bytes that the process may take; ``None`` for no limit.
        tf32: Whether it may compute in TF32; see :func:`.numerics.exact_numerics`.
        stage: The stage that its events name.
        label: What its events call it; the attack's name by default.
        finish: Whether to read off the reconstruction.
    """

    attack: Attack
    recipe: Recipe
    seed: int
    job: Job
    start: State | None = None
    seconds: float = math.inf
    until: float = math.inf
    closing: float = 0.0
    overrun: float = math.inf
    end: float = math.inf
    memory: float | None = None
    tf32: bool = False
    stage: str = "attack"
    label: str = ""
    finish: bool = True


def carry_out(ground: Callable[[], Victim], work: Work, listener: Listener) -> Outcome:
    """Do a piece of work in this process; the numbers that it returns are on the CPU.

    Raises:
        Unsupported: The attack cannot treat this victim.
        Interrupted: The user stopped it; the state is saved.
    """
    victim, label = ground(), work.label or work.attack.name
    now, wall = time.monotonic(), time.time()

    def told(event: Event) -> None:
        listener(dataclasses.replace(event, message=label) if event.step else event)

    device = victim.like.device
    with ceiling(device, work.memory), exact_numerics(work.tf32):
        outcome = drive(
            work.attack,
            victim,
            work.recipe,
            work.seed,
            job=work.job,
            budget=Budget(
                deadline=now + min(work.seconds, work.until - wall),
                closing=work.closing,
                end=now + min(work.seconds + work.overrun, work.end - wall),
                memory=room(device, work.memory),
            ),
            listener=told,
            stage=work.stage,
            finish=work.finish,
            start=None if work.start is None else _state(work.start, device),
        )
    return moved(outcome, torch.device("cpu"))


def attempt(ground: Callable[[], Victim], work: Work, listener: Listener) -> Outcome | str:
    """Do a piece of work; return in words why it could not be done, unless that ends the whole scan."""
    try:
        return carry_out(ground, work, listener)
    except Unsupported as error:
        return str(error)
    except SPREADING:
        raise
    except Exception as error:
        return failure(error)


def failure(error: Exception) -> str:
    """Return in words what ended an attack that ought not to have ended; the others go on without it."""
    torch.cuda.empty_cache()
    if out_of_memory(error):
        return "It ran out of memory, or of what --max-memory leaves."
    return f"It failed ({one_line(error)})."


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
