"""How many images trained a first layer: the rank of its change, and how far weight decay shrank it.

Under SGD, with or without momentum, any batches and any number of steps, a linear layer fed by the images X (n x d)
ends as ``W_f = alpha W_0 + D X``: a scaled start and a matrix of rank n (design 11, 13.2). Hence
``W_f - alpha W_0`` has n singular values far above rounding and the rest at it, for the right alpha only. That alpha
is an eigenvalue of the pencil (W_f, W_0) as often as the rank falls short, so that the median eigenvalue finds it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

GAP = 30.0
"""The last singular value that counts is at least so many times the first that does not."""

NOISY = 100.0
"""The first that does not is at most so many times one rounding (30 times more if all that follow are like it): each
step of training rounds again, and weight decay adds a rounding that is the same in every step."""

SKETCH = 320
"""Rows and columns, at most, of the random sketch on which alpha is sought."""

WORK = 1e9
"""Largest rows x columns x min(rows, columns) of which all singular values are computed; beyond it, of a sketch."""


@dataclass(frozen=True)
class Rank:
    """What the change of a first layer shows.

    Attributes:
        count: Rank of the change.
        gap: Singular value ``count`` over the next one.
        factor: Weight-decay factor alpha that leaves this rank.
        spread: Half-width of alpha's interval.
        room: The count would be at most this, whatever the number of images: units and inputs that took part.
        closed: Whether the bias change lies in the same column space, as it does if the images are independent.
        flat: Whether the singular values that do not count are alike, as those of noise are.
    """

    count: int
    gap: float
    factor: float
    spread: float
    room: int
    closed: bool
    flat: bool


def data_rank(
    before: Tensor,
    after: Tensor,
    noise: float,
    bias: tuple[Tensor, Tensor] | None = None,
    factor: float | None = None,
) -> Rank | None:
    """Return the rank of ``after - alpha before``, ``None`` unless it is low and sharp.

    Args:
        before: (width, d) weights.
        after: The same after training.
        noise: Root mean square of the rounding in their difference.
        bias: The layer's bias (width,) before and after, which decayed as the weights did or not at all.
        factor: Alpha, if it was measured elsewhere.
    """
    if min(before.shape) < 3 or noise <= 0:
        return None
    first, last = before.double(), after.double()
    left, right = _sketches(first.shape, SKETCH)
    small = _both(first, left, right), _both(last, left, right)
    starts = [factor] if factor is not None else [1.0, _pencil(*small)]
    tries = [_refined(*small, start) for start in starts]
    alpha, spread, _, _ = max(tries, key=lambda found: found[2])
    if abs(alpha - 1) <= spread:
        alpha = 1.0
    change = last - alpha * first
    found = _gap(change, noise)
    if found is None:
        return None
    count, gap, steep = found
    alive = [int((change.square().mean(axis).sqrt() > 10 * noise).sum()) for axis in (1, 0)]
    closed = bias is None or any(
        _closed(_both(change, left, right), left, bias[1].double() - kept * bias[0].double(), count)
        for kept in {1.0, alpha}
    )
    return Rank(count, gap, alpha, spread, min(alive), closed, steep < 4)


def _sketches(shape: torch.Size, size: int) -> tuple[Tensor | None, Tensor | None]:
    """Return seeded Gaussian matrices (size, rows) and (columns, size), ``None`` for a side that is small enough."""
    generator = torch.Generator().manual_seed(0)

    def draw(side: int) -> Tensor | None:
        if side <= size:
            return None
        drawn = torch.randn(size, side, generator=generator, dtype=torch.float64)
        return drawn / math.sqrt(size)

    left, right = draw(shape[0]), draw(shape[1])
    return left, None if right is None else right.T


def _both(matrix: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    matrix = matrix if left is None else left @ matrix
    return matrix if right is None else matrix @ right


def _pencil(before: Tensor, after: Tensor) -> float:
    """Return the median real eigenvalue of (after, before), 1 where the pencil is singular."""
    size = min(before.shape)
    generator = torch.Generator().manual_seed(1)
    for axis in (0, 1):
        if before.shape[axis] > size:
            mix = torch.randn(size, before.shape[axis], generator=generator, dtype=before.dtype)
            before, after = (mix @ m if axis == 0 else m @ mix.T for m in (before, after))
    try:
        values = torch.linalg.eigvals(torch.linalg.solve(before, after)).real
    except RuntimeError:  # a constant, pruned or otherwise singular layer
        return 1.0
    median = float(values.median())
    return median if 0.1 < median < 1.1 else 1.0


def _refined(before: Tensor, after: Tensor, factor: float) -> tuple[float, float, float, int]:
    """Return alpha fitted where the images do not reach, its half-width, and the gap that it leaves and where."""
    spread, gap, count = 0.0, 0.0, 0
    for _ in range(3):
        u, s, vh = torch.linalg.svd(after - factor * before, full_matrices=True)
        count, gap = _largest(s, float(s[0]) * 1e-12)
        start = u[:, count:].T @ before @ vh[count:].T
        end = u[:, count:].T @ after @ vh[count:].T
        power = float(start.square().sum())
        if power == 0:
            break
        factor = float((start * end).sum()) / power
        spread = 4 * float((end - factor * start).norm()) / (power * start.numel()) ** 0.5 + 2.0**-26
    return factor, spread, gap, count


def _largest(values: Tensor, floor: float) -> tuple[int, float]:
    """Return where descending ``values`` fall most steeply, as (how many lie before, by which factor)."""
    clamped = values.clamp(min=max(floor, torch.finfo(values.dtype).tiny))
    ratios = clamped[:-1] / clamped[1:]
    count = int(ratios[: max(len(ratios) - 1, 1)].argmax()) + 1
    return count, float(ratios[count - 1])


def _gap(change: Tensor, noise: float) -> tuple[int, float, float] | None:
    """Return the rank, its gap and the first of the other singular values over their median.

    ``None`` if there is no sharp gap that ends at rounding.
    """
    rows, columns = change.shape
    if rows * columns * min(rows, columns) > WORK:
        change = _both(change, *_sketches(change.shape, 2 * SKETCH))
    values = torch.linalg.svdvals(change)
    floor = noise * (rows * columns / len(values)) ** 0.5
    count, gap = _largest(values, 0.3 * floor)
    rest = float(values[count])
    tail = values[count:]
    tail = tail[tail > 0.3 * floor]
    steep = rest / float(tail.median()) if len(tail) else 1.0
    noisy = NOISY * floor * (30 if steep < 2 and len(tail) > 8 else 1)  # noise is flat, a forgotten image is not
    sharp = gap > GAP and rest <= noisy and count < 0.9 * len(values)
    return (count, gap, steep) if sharp and (steep < 10 or len(tail) < 4) else None


def _closed(change: Tensor, left: Tensor | None, bias: Tensor, count: int) -> bool:
    """Return whether the bias change lies in the span of the ``count`` leading left singular vectors."""
    u = torch.linalg.svd(change, full_matrices=False)[0][:, :count]
    seen = bias if left is None else left @ bias
    return float((seen - u @ (u.T @ seen)).norm()) <= 1e-2 * float(seen.norm())
