"""By which factor weight decay shrank a weight, found together with the span of the inputs.

Outside the span of the inputs the weight only shrank, and only for the right factor alpha is ``W_f - alpha W_0`` of low
rank: factor and span are estimated from each other. Alpha is an eigenvalue of the pencil (W_f, W_0) as often as the
rank falls short of full, so that the median eigenvalue is a good start where little of the start of training is left.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .rounding import Edge, Floor

SKETCH = 320
"""Rows and columns, at most, of the random sketch on which alpha is sought first."""

ROUNDS = 20
"""Most rounds of estimating alpha and the span from each other."""

SETTLED = 0.01
"""Alpha has settled when a round moves the weights by at most this share of their rounding."""

ROUNDED = 2.0**-26
"""Alpha is not known better than that: the factor of every step is itself rounded to float32."""

LOST = 1e-24
"""Below this share of the weight's power, what is left of it outside the span is rounding of float64."""

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Fit:
    """Alpha, and the decomposition of ``W_f - alpha W_0`` or of a sketch of it.

    Attributes:
        factor: Alpha, in [-1, 1]; below 0 only where momentum overshot.
        spread: Half-width of its interval, infinite where nothing shows it.
        values: (rows,) singular values, descending.
        vectors: (rows, rows) left singular vectors, in columns.
        edge: Where data end among the values.
    """

    factor: float
    spread: float
    values: Tensor
    vectors: Tensor
    edge: Edge

    @property
    def quality(self) -> tuple[int, float]:
        """Sorts fits, the best last."""
        return ("none", "edge", "gap", "sharp").index(self.edge.kind), self.edge.gap


def fitted(whole: Pair, floor: Floor, known: float, brief: bool) -> Fit:
    """Return the best fit to a weight, sought on a small sketch of it, and on the whole where that shows no gap.

    Where no rank shows, alpha does not either: then it is ``known``.

    Args:
        whole: The weight (or itself a sketch of it) before and after training, (rows, columns >= rows) float64.
        floor: Its rounding.
        known: Alpha, as far as it is known.
        brief: Whether to try only ``known`` on the whole.
    """
    sides = sketches(whole[0], SKETCH)
    small = sketched(whole[0], *sides), sketched(whole[1], *sides)
    found = _best(_settled(small, floor, alpha) for alpha in _starts(small, known))
    if sides != (None, None):
        rank = found.edge.rank if found.edge.clear else 0
        found = _fit(whole, floor, found.factor, found.spread) if rank else found
        if not (found.edge.clear and found.edge.rank == rank):
            found = _best(_settled(whole, floor, alpha) for alpha in ([known] if brief else _starts(whole, known)))
    return _fit(whole, floor, known, math.inf) if found.edge.kind == "none" else found


def _best(fits: Iterable[Fit]) -> Fit:
    """Return the first fit whose rank ends at rounding, else the one with the clearest end."""
    found = []
    for fit in fits:
        found.append(fit)
        if fit.edge.kind == "sharp":
            break
    return max(found, key=lambda fit: fit.quality)


def _starts(weights: Pair, known: float) -> Iterator[float]:
    """Yield alphas to start from, the likeliest first."""
    yield from dict.fromkeys((known, 1.0))
    yield _pencil(*weights)


def _settled(weights: Pair, floor: Floor, factor: float) -> Fit:
    """Return alpha and the span of the inputs, estimated from each other until they agree."""
    near = max(SETTLED * floor.noise / max(floor.size, 1e-300), 1e-14)
    for _ in range(ROUNDS):
        fit = _fit(weights, floor, factor)
        # Under much decay no gap stands out at first; the widest one then serves to undo most of it.
        following, spread = _outside(weights, fit)
        if abs(following - factor) <= near:
            break
        factor = following
    return replace(fit, spread=spread)


def _fit(weights: Pair, floor: Floor, factor: float, spread: float = 0.0) -> Fit:
    change = weights[1] - factor * weights[0]
    values, vectors = decomposed(change)
    return Fit(factor, spread, values, vectors, floor.edge(values, change.shape))


def decomposed(matrix: Tensor) -> Pair:
    """Return singular values (rows,), descending, and left singular vectors (rows, rows), from the Gram matrix."""
    squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
    return squares.clamp(min=0).sqrt().flip(0), vectors.flip(1)


def _outside(weights: Pair, fit: Fit) -> tuple[float, float]:
    """Return alpha fitted outside the rows and the columns of the change that the inputs reach, and its half-width."""
    rank, change = fit.edge.rank, weights[1] - fit.factor * weights[0]
    left = fit.vectors[:, :rank]
    right = torch.linalg.qr(change.T @ left).Q
    start, rest = (part - left @ (left.T @ part) for part in (weights[0], change))
    start, rest = (part - (part @ right) @ right.T for part in (start, rest))
    power, count = float(start.square().sum()), (change.shape[0] - rank) * (change.shape[1] - rank)
    if count <= 0 or power <= LOST * float(weights[0].square().sum()):
        return fit.factor, math.inf
    slope = float((start * rest).sum()) / power
    spread = 4 * float((rest - slope * start).norm()) / math.sqrt(power * count) + ROUNDED
    following = min(max(fit.factor + slope, -1.0), 1.0)
    return 1.0 if 1 - following <= spread else following, spread


def _pencil(before: Tensor, after: Tensor) -> float:
    """Return the median real eigenvalue of (after, before), 1 where there is none or it is not a shrinkage."""
    draw, size = torch.Generator().manual_seed(1), min(before.shape)
    for axis in (0, 1):
        if before.shape[axis] > size:
            mix = torch.randn(size, before.shape[axis], generator=draw, dtype=before.dtype).to(before.device)
            before, after = (mix @ m if axis == 0 else m @ mix.T for m in (before, after))
    try:
        pencil = torch.linalg.solve(before, after)
        if not pencil.isfinite().all():  # LAPACK ends the process on such a matrix
            return 1.0
        median = float(torch.linalg.eigvals(pencil).real.median())
    except RuntimeError:  # a constant, pruned or otherwise singular layer
        return 1.0
    return median if -1 < median < 1 else 1.0


def sketches(matrix: Tensor, size: int) -> tuple[Tensor | None, Tensor | None]:
    """Return seeded Gaussian matrices (size, rows) and (columns, size), ``None`` for a side that is small enough."""
    draw = torch.Generator().manual_seed(size)

    def side(length: int) -> Tensor | None:
        if length <= size:
            return None
        drawn = torch.randn(size, length, generator=draw, dtype=torch.float64)
        return drawn.to(matrix.device) / math.sqrt(size)

    left, right = side(matrix.shape[0]), side(matrix.shape[1])
    return left, None if right is None else right.T


def sketched(matrix: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    """Return ``left @ matrix @ right``, which has the same rank if that is small; the longer side goes first."""
    if right is not None and matrix.shape[1] > matrix.shape[0]:
        matrix, right = matrix @ right, None
    matrix = matrix if left is None else left @ matrix
    return matrix if right is None else matrix @ right
