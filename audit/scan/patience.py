"""How long the search for the recipe may go on: its share of the time, counted over all sessions of a scan.

A learning rate that changes makes every attack start anew. So the same scan with hardly more time keeps what its search
has found, and one with much more time continues the search where it ended.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from ...attacks.contract.attack import State
from ..machine.clock import Deadline
from ..run.store import Job

MORE = 1.5
"""A search that its time ended continues once there is this many times as much of it."""


@dataclass
class Patience:
    """The time of one search.

    Attributes:
        job: Where it is kept what the search has taken so far.
        allowed: Seconds that it may take in all; infinity for no limit.
        taken: Seconds that it has taken, over all sessions.
        ended: Whether it was not interrupted: it came to its end, or its time was up.
    """

    job: Job
    allowed: float
    taken: float = field(init=False, default=0.0)
    ended: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        saved = self.job.load(torch.zeros(()))
        if saved is not None:
            self.taken, self.ended = float(saved[1]["taken"]), bool(saved[1]["ended"])

    @property
    def left(self) -> float:
        """Seconds that it may still take: none where it ended and there is hardly more time than it had."""
        kept = self.ended and self.allowed < MORE * self.taken
        return 0.0 if kept else max(self.allowed - self.taken, 0.0)

    @contextmanager
    def spent(self) -> Iterator[Deadline]:
        """Give the moment at which the search is to end; note afterwards what it took."""
        left, began, self.ended = self.left, time.monotonic(), False
        try:
            yield Deadline.after(left if math.isfinite(left) else None)
            self.ended = True
        finally:
            self.taken += time.monotonic() - began if left else 0.0
            self.job.save(State(0, {}, {}, {}), {"taken": self.taken, "ended": self.ended})
