"""What the change of one layer's weight shows of the layer's inputs: how many there were, their span, the weight decay.

Under SGD, with momentum or not, in any number of steps and batches, a linear layer that constant inputs X (n, d) enter
ends as ``W_f = alpha W_0 + D X``: the start, shrunk by weight decay, and the inputs, combined by the summed signals D
(width, n). Dimitrov et al. (2024, theorem 3.1) show it for one gradient; it adds up over the steps, as the inputs stay
the same. So ``W_f - alpha W_0`` has n singular values far above rounding and the rest at it, its rows span the inputs,
and the bias, whose input is the constant 1, changes by D 1.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .decay import SKETCH, Fit, Pair, decomposed, fitted, sketched, sketches
from .rounding import Edge, Floor

WORK = 1e9
"""Largest rows x columns x min(rows, columns) that is decomposed whole where a sketch of twice SKETCH will do."""

LIVE = 10.0
"""Units and inputs took part if their change is more than this multiple of what is otherwise left of it; where no gap
parts the two, if they changed at all."""

CLOSED = 1e-2
"""The bias saw what the weight saw if at most this share of its change lies outside the columns of the weight's."""


@dataclass(frozen=True)
class Spectrum:
    """What the change of a layer's weight shows; tensors are on the device of the weights.

    Attributes:
        weight: (width, d) before and after training.
        bias: (width,) before and after training, or ``None``.
        factor: By which weight decay shrank the weight, in [-1, 1]; below 0 only where momentum overshot.
        spread: Half-width of its interval, infinite where nothing shows the factor.
        edge: The rank, and how sure it is.
        live: How many units, or inputs if those are fewer, took part.
        room: The most that the rank can be, whatever the number of training inputs: as many as took part, or one unit
            less where the signals of all units add up to zero.
        bias_factor: The factor by which the bias shrank: that of the weight, or 1 as many leave biases out of decay.
        outside: Share of the change of the bias that lies outside the columns of the weight's change, in [0, 1]. It
            shows which factor it was: rounding for the right one, and small for 1, as the weight has then forgotten a
            part of the early steps and the bias has not.
        read: The decomposition of ``change`` if the rank was read off it, not off its transpose or a sketch.
    """

    weight: Pair
    bias: Pair | None
    factor: float
    spread: float
    edge: Edge
    live: int
    room: int
    bias_factor: float
    outside: float
    read: Pair | None

    @property
    def closed(self) -> bool:
        """Whether the bias saw the same signals as the weight, as it does if the inputs are independent."""
        return self.outside <= CLOSED

    @cached_property
    def change(self) -> Tensor:
        """(width, d) change of the weight, weight decay undone, float64."""
        return _change(self.weight, self.factor)

    @property
    def bias_change(self) -> Tensor | None:
        """(width,) that of the bias."""
        return None if self.bias is None else _change(self.bias, self.bias_factor)

    @cached_property
    def _whole(self) -> Pair:
        """Singular values and left singular vectors of the change."""
        return self.read or decomposed(self.change)

    @property
    def values(self) -> Tensor:
        """(width,) singular values of the change, descending, float64."""
        return self._whole[0]

    def rows(self, count: int) -> Tensor:
        """Return (count, d) orthonormal, float64: the span of the first ``count`` right singular vectors."""
        values, vectors = self._whole
        rows = (vectors[:, :count].T @ self.change) / values[:count, None]
        span: Tensor = torch.linalg.qr(rows.T).Q.T
        return span


def spectrum(
    weight: Pair,
    noise: float,
    bias: Pair | None = None,
    *,
    known: float = 1.0,
    balanced: bool = False,
    sketch: bool = False,
) -> Spectrum:
    """Return what the change of a weight shows.

    Args:
        weight: (width, d) before and after training; of a convolution, the kernels flattened.
        noise: Root mean square of the rounding in their difference: :func:`.rounding.noise`.
        bias: (width,) before and after training, which decayed as the weight did or not at all.
        known: The factor of weight decay as far as it is known from elsewhere; it stays where no rank shows.
        balanced: Whether the signals of all units add up to zero, as those of a head do under softmax cross-entropy.
        sketch: Whether a random sketch may stand for a layer beyond :data:`WORK`, which is enough for the rank of few
            inputs.
    """
    before, after = (side.double() for side in weight)
    width, d = before.shape
    floor = Floor((width, d), noise, max(float(side.norm()) for side in (before, after)) / math.sqrt(before.numel()))
    flat = (before.T, after.T) if width > d else (before, after)
    large = sketch and width * d * min(width, d) > WORK
    sides = sketches(flat[0], 2 * SKETCH) if large else (None, None)
    small = sketched(flat[0], *sides), sketched(flat[1], *sides)
    fit = fitted(small, floor, known, sketch)
    columns, side = fit.vectors[:, : fit.edge.rank], sides[0]
    if width > d:
        columns = torch.linalg.qr(_change(small, fit.factor).T @ columns).Q
        side = None if sides[1] is None else sides[1].T
    bias_factor, outside = _bias(bias, fit.factor, columns, side) if bias else (fit.factor, 0.0)
    units, inputs = _live(after - fit.factor * before, fit, noise)
    live, room = min(units, inputs), min(units - balanced, inputs)
    read = None if large or width > d else (fit.values, fit.vectors)
    return Spectrum(weight, bias, fit.factor, fit.spread, fit.edge, live, room, bias_factor, outside, read)


def _change(sides: Pair, factor: float) -> Tensor:
    return sides[1].double() - factor * sides[0].double()


def _live(change: Tensor, fit: Fit, noise: float) -> tuple[int, int]:
    """Return how many units and how many inputs took part in ``change`` (width, d)."""
    left = float(fit.values[fit.edge.rank :].norm()) / math.sqrt(change.numel())
    least = LIVE * max(left, noise) if fit.edge.clear else 0.0
    lengths = (torch.linalg.vector_norm(change, dim=axis) / math.sqrt(change.shape[axis]) for axis in (1, 0))
    units, inputs = (int((length > least).sum()) for length in lengths)
    return units, inputs


def _bias(bias: Pair, factor: float, columns: Tensor, side: Tensor | None) -> tuple[float, float]:
    """Return by which factor the bias shrank, and the share of its change outside the columns of the weight's.

    Args:
        bias: (width,) before and after training.
        factor: That of the weight.
        columns: (width, r) orthonormal, or (size, r) of the sketch.
        side: (size, width) what the sketch multiplied the columns with.
    """
    found = []
    for shrunk in (factor, 1.0):
        change = _change(bias, shrunk)
        seen = change if side is None else side @ change
        rest = float((seen - columns @ (columns.T @ seen)).norm())
        found.append((rest / max(float(seen.norm()), 1e-300), shrunk))
    outside, shrunk = min(found, key=lambda item: item[0])
    return shrunk, outside
