"""What work is done with, and within which limits: what travels with the work, and what stays in this process."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ..events import Listener, silence
from .clock import NEVER, Deadline
from .executor import LOCAL, Executor
from .memory import ceiling
from .numerics import exact_numerics


@dataclass(frozen=True)
class Limits:
    """The limits of work; they travel with it to the process that does it.

    Attributes:
        deadline: No step begins that would not be over by then.
        end: Even a step in progress is given up then.
        memory: Bytes that the process, or its tensors on a CUDA device, may take; ``None`` for no limit.
        tf32: Whether a CUDA device may compute in TF32; see :func:`.numerics.exact_numerics`.
    """

    deadline: Deadline = NEVER
    end: Deadline = NEVER
    memory: float | None = None
    tf32: bool = False

    @contextmanager
    def kept(self, device: torch.device) -> Iterator[None]:
        """Compute on ``device`` within these limits of memory and precision for as long as the block lasts."""
        with ceiling(device, self.memory), exact_numerics(self.tf32):
            yield


@dataclass(frozen=True)
class Means:
    """What a process works with.

    Attributes:
        listener: Hears what happens.
        executor: Where pieces of work are done.
        limits: Of all of them.
    """

    listener: Listener = silence
    executor: Executor = LOCAL
    limits: Limits = Limits()

    def until(self, deadline: Deadline, end: Deadline = NEVER) -> "Means":
        """Return the same means with less time, where these moments come before those that hold already."""
        sooner = min(deadline, self.limits.deadline), min(end, self.limits.end)
        return dataclasses.replace(self, limits=dataclasses.replace(self.limits, deadline=sooner[0], end=sooner[1]))
