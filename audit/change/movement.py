"""How far each tensor moved, against the rounding of its own number format; and which part of it training never moved.

Everything here looks at one tensor at a time. Where the gradient is zero weight decay alone acts, so that all of it
shrinks by the same factor.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...attacks.layers.rounding import noise
from ..checkpoints.pair import CheckpointPair
from ..report.facts import FLOOR, TensorReading

LEAST = 8
"""This many numbers, not all alike, are needed before a common factor of all of them means anything."""

HUGE = 1e100
"""Larger float64 numbers count as this, so that no square overflows."""

LOOSE = 0.05
"""How far the change may be from a multiple of the weights, as a share: decay is itself rounded in every step."""


@dataclass(frozen=True)
class Signal:
    """One floating tensor of a pair.

    Attributes:
        name: In the state dict.
        before: As read, (...) of any shape.
        after: The same.
        stored: Element type in the coarser of the two files.
        noise: Root mean square, over the coordinates, of the rounding error that both files left in the difference.
    """

    name: str
    before: Tensor
    after: Tensor
    stored: torch.dtype
    noise: float

    @property
    def change(self) -> Tensor:
        """The difference in float64."""
        return self.after.double() - self.before.double()

    @cached_property
    def length(self) -> float:
        """Norm of the change."""
        return float(torch.linalg.vector_norm(self.change))

    @property
    def rms(self) -> float:
        """Root mean square of the change."""
        return self.length / math.sqrt(max(self.before.numel(), 1))

    @property
    def snr(self) -> float:
        """Root mean square of the change over that of the rounding."""
        return self.rms / self.noise if self.noise else 0.0

    @property
    def fine(self) -> bool:
        """Whether both files keep at least float32's 24 bits."""
        return torch.finfo(self.stored).eps <= torch.finfo(torch.float32).eps

    @cached_property
    def zeros(self) -> float:
        """Share of the coordinates that did not change at all, in [0, 1]."""
        return float((self.before == self.after).double().mean()) if self.before.numel() else 1.0

    @cached_property
    def whole(self) -> float | None:
        """Factor by which the whole tensor was scaled, ``None`` if that is not what happened."""
        if self.length == 0:
            return None
        factors, still = scaled_rows(self.before.double().view(1, -1), self.change.view(1, -1), self.noise)
        return float(factors[0]) if bool(still[0]) else None

    @cached_property
    def status(self) -> str:
        """``frozen``, ``decayed``, ``rounding`` or ``moved``, as in :class:`.facts.TensorReading`."""
        if torch.equal(self.before, self.after):
            return "frozen"
        if self.whole is not None:
            return "decayed"
        return "rounding" if self.snr < FLOOR else "moved"

    @property
    def is_weight(self) -> bool:
        """Whether this is a matrix or a stack of kernels (not a bias, a norm's scale or a statistic)."""
        return self.before.ndim >= 2 and self.before.numel() > 0

    def matrices(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (before, change) in float64 as (units, inputs), then as (inputs, units); kernels are flattened."""
        before, change = self.before.double(), self.change
        yield before.flatten(1), change.flatten(1)
        yield before.transpose(0, 1).flatten(1), change.transpose(0, 1).flatten(1)

    def reading(self) -> TensorReading:
        """Return the row of the report."""
        start = float(torch.linalg.vector_norm(self.before.double()))
        return TensorReading(
            name=self.name,
            shape=list(self.before.shape),
            dtype=str(self.stored).removeprefix("torch."),
            status=self.status,
            change=self.length,
            relative_change=self.length / start if start else None,
            snr=self.snr,
        )


def signals(pair: CheckpointPair) -> list[Signal]:
    """Return every floating tensor of the pair, in the order of the checkpoint from before training."""
    found = []
    for name, before in pair.before.tensors.items():
        if not before.is_floating_point():
            continue
        before, after = _tamed(before), _tamed(pair.after.tensors[name])
        stored = [side.stored.get(name, before.dtype) for side in (pair.before, pair.after)]
        kinds = [kind if kind.is_floating_point else before.dtype for kind in stored]
        coarse = max(kinds, key=lambda kind: torch.finfo(kind).eps)
        found.append(Signal(name, before, after, coarse, noise((before, after), kinds)))
    return found


def _tamed(values: Tensor) -> Tensor:
    return values.clamp(-HUGE, HUGE) if values.dtype == torch.float64 else values


def scaled_rows(before: Tensor, change: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Return which rows training only scaled, as weight decay does where the gradient is zero, or left alone.

    Args:
        before: (rows, columns) in float64.
        change: The same shape.
        noise: Root mean square of the rounding.

    Returns:
        (rows,) factors ``after / before`` by least squares, and (rows,) whether that factor explains the row: 1 for a
        row that did not change, less for one that shrank by a common factor to within :data:`LOOSE` of its shrinking
        and twice the rounding. Rows of fewer than :data:`LEAST` numbers or of a single value prove nothing.
    """
    if before.shape[1] < LEAST:
        return before.new_ones(len(before)), torch.zeros(len(before), dtype=torch.bool)
    power = before.square().mean(1)
    slope = (before * change).mean(1) / power.clamp(min=torch.finfo(torch.float64).tiny)
    residual = (change - slope[:, None] * before).square().mean(1).sqrt()
    shrink = -slope * power.sqrt()
    varied = (before.var(1, correction=0) > 1e-3 * power) & (power > 0)
    scaled = (shrink > 10 * noise) & (slope > -0.9) & (residual <= (LOOSE * shrink).clamp(min=2 * noise))
    return 1 + slope, varied & (scaled | (change == 0).all(1))


def active(signal: Signal) -> Tensor:
    """Return the changes (flat, float64) of the coordinates that had a gradient: neither unmoved nor only scaled."""
    (_, change), (before_t, change_t) = signal.matrices()
    rows = scaled_rows(signal.before.double().flatten(1), change, signal.noise)[1]
    columns = scaled_rows(before_t, change_t, signal.noise)[1]
    kept = signal.change[~rows][:, ~columns].flatten()
    return kept[kept != 0]
