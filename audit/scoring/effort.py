"""How much there is to score, how long that takes, and how far it is: pairs of a record and a reconstruction."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from ..data.base import TrainingSet
from ..events import Event, Listener
from ..machine.executor import throttled
from .compare import passes
from .kind import Kind, Transforming
from .match import comparisons

TIMED, MANY, SLACK = 4, 128, 1.5
"""How long scoring takes is timed on this many training records and reconstructions; with pictures and reports it takes
at most this many times as long."""

_NUMBERS = 2**18
"""In the choice of a record's way, what is set up once weighs little beside so many numbers in records."""


def pairs(kind: Kind, truth: TrainingSet, control: TrainingSet | None, counts: Sequence[int]) -> int:
    """Return how many pairs of records are scored for results with these numbers of records."""
    return sum(comparisons(kind, truth, control, count) for count in counts)


def seconds(kind: Kind, truth: TrainingSet, control: TrainingSet | None, counts: Sequence[int]) -> float:
    """Return how long it takes to score results with these numbers of records, as timed on a few."""
    if not counts:
        return 0.0
    few = truth.records[:TIMED]
    guesses = truth.records[torch.arange(min(max(counts), MANY)) % len(truth.records)]
    times = []
    for _ in range(3):  # the first also pays for what is set up once
        began = time.monotonic()
        kind.matrix(few, guesses)
        times.append(time.monotonic() - began)
    decoyed = len(truth.records) * (max(counts) + 1)
    scoring = (pairs(kind, truth, control, counts) + decoyed) * min(times) / (len(few) * len(guesses))
    records = len(counts) * comparisons(kind, truth, control, 1) // passes(kind)
    return SLACK * (scoring + records * _choosing(kind, truth, guesses))


def _choosing(kind: Kind, truth: TrainingSet, guesses: Tensor) -> float:
    """Return the seconds that it takes to choose a record's way, as timed on several; 0 where there is no choice."""
    if not isinstance(kind, Transforming):
        return 0.0
    count = min(max(_NUMBERS // truth.records.shape[1:].numel(), TIMED), MANY)
    rows = torch.arange(count) % len(truth.records)
    readings = {reading.name: reading.records[rows] for reading in truth.readings}
    began = time.monotonic()
    kind.transformed(truth.records[rows], readings, guesses, True, 0, None)
    return (time.monotonic() - began) / count


class Progress:
    """Tells a listener at intervals how many pairs are scored."""

    def __init__(self, listener: Listener, total: int, many: str) -> None:
        self.listener = throttled(listener, time.monotonic)
        self.step, self.total, self.many = 0, total, many

    def __call__(self, pairs: int) -> None:
        """Hear of some more."""
        self.step += pairs
        self.listener(Event("match", f"pairs of {self.many}", self.step, self.total))

    def close(self) -> None:
        """Report the end, where fewer were scored than expected: idle reconstructions are not."""
        if 0 < self.step < self.total:
            self(self.total - self.step)
