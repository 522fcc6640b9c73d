"""How much there is to score, how long that takes, and how far it is: pairs of an image and a reconstruction."""

import time
from collections.abc import Sequence

import torch

from ...attacks.contract.attack import generator
from ..data.base import TrainingSet
from ..events import Event, Listener
from ..machine.executor import throttled
from .match import comparisons
from .similarity import ssim_matrix

TIMED, MANY, SLACK = 4, 128, 1.5
"""How long scoring takes is timed on so many training images and reconstructions; with pictures and reports it takes at
most so many times as long."""


def pairs(truth: TrainingSet, control: TrainingSet | None, counts: Sequence[int]) -> int:
    """Return how many pairs of images are scored for results of so many images each."""
    return sum(comparisons(truth, control, count) for count in counts)


def seconds(truth: TrainingSet, control: TrainingSet | None, counts: Sequence[int]) -> float:
    """Return how long it takes to score results of so many images each, as timed on a few."""
    if not counts:
        return 0.0
    few = truth.records[:TIMED]
    guesses = torch.rand(min(max(counts), MANY), *few.shape[1:], generator=generator(0))
    times = []
    for _ in range(3):  # the first also pays for what is set up once
        began = time.monotonic()
        ssim_matrix(few, guesses, "audit")
        times.append(time.monotonic() - began)
    decoyed = len(truth.records) * (max(counts) + 1)
    return SLACK * (pairs(truth, control, counts) + decoyed) * min(times) / (len(few) * len(guesses))


class Progress:
    """Tells a listener now and then how many pairs are scored."""

    def __init__(self, listener: Listener, total: int) -> None:
        self.listener = throttled(listener, time.monotonic)
        self.step, self.total = 0, total

    def __call__(self, pairs: int) -> None:
        """Hear of some more."""
        self.step += pairs
        self.listener(Event("match", "pairs of images", self.step, self.total))

    def close(self) -> None:
        """Tell of the end, where fewer were scored than foreseen: idle reconstructions are not."""
        if 0 < self.step < self.total:
            self(self.total - self.step)
