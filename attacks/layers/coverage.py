"""How much of a layer's change given inputs cover, and whether one input lies in what the change spans.

Under SGD the change of a layer is a sum of ``signal x input`` over all steps, inputs and positions, so that its rows
lie in the span of the layer's own inputs during training (docs/decisions/0012-cover.md). Weight the right singular
vectors V of the change by how much of it they carry; with the rows A of candidate inputs,

    ``cover = min over S of |V - S^T A|^2 + ridge |S|^2``

is the share of the change that no backward signals S could explain with these inputs (variable projection; Golub and
Pereyra, 1973). It needs no label, loss, head or recipe. At the minimum its gradient is that for constant S.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .decay import decomposed
from .seen import Seen

RIDGE = 1e-3
"""Weight of the signals, for rows of unit mean square length."""

POWERS = {"sgd": 1.0, "adam": 3.0, "adamw": 3.0}
"""A direction with the singular value s weighs s to this power: what Adam rescaled is left in the strongest ones."""


@dataclass(frozen=True)
class Directions:
    """What a change spans.

    Attributes:
        weighted: (k, width) orthogonal, their squared lengths sum to 1: the right singular vectors, weighted.
        kept: (r, width) orthonormal: the strongest of them.
    """

    weighted: Tensor
    kept: Tensor


def directions(change: Tensor, noise: float, power: float, keep: int) -> Directions:
    """Return what a change (units, width) spans.

    Args:
        change: Of a layer's weight, decay undone.
        noise: Root mean square of the rounding in an entry: directions that rounding alone could make are left out.
        power: A direction with the singular value s weighs ``s^power``.
        keep: How many directions :attr:`Directions.kept` has at most.

    Raises:
        ValueError: Nothing stands out of the rounding.
    """
    whole = change.double()
    wide = whole if whole.shape[0] <= whole.shape[1] else whole.T
    values, left = decomposed(wide)
    largest = noise * sum(side**0.5 for side in whole.shape)
    rank = int((values > max(largest, 1e-7 * float(values[0]))).sum())
    if not rank:
        raise ValueError("nothing stands out of the rounding")
    values, left = values[:rank], left[:, :rank]
    right = (left.T @ whole) / values[:, None] if wide is whole else left.T
    weights = (values / values[0]) ** power
    weighted = right * (weights / weights.sum()).sqrt()[:, None]
    return Directions(weighted.to(change), right[:keep].to(change))


def cover(rows: Seen, weighted: Tensor) -> Tensor:
    """Return the share of a change that inputs leave unexplained, in [0, 1], differentiable once (a scalar).

    Args:
        rows: What the layer sees of all inputs at all positions.
        weighted: (k, width) of :class:`Directions`.
    """
    with torch.no_grad():
        scale = scale_of(rows)
        signals = signals_of(rows, weighted)
        left: Tensor = weighted - rows.combined(signals) / scale
        share = left.square().sum() + RIDGE * signals.square().sum()
        if not rows.source.requires_grad:
            return share
        slope = rows.slope(signals / scale, -2 * left)
    along = (rows.source * slope).sum()
    return share + (along - along.detach())


@torch.no_grad()
def scale_of(rows: Seen) -> Tensor:
    """Return what rows are divided by to have unit mean square length (a scalar); it counts as constant."""
    return (rows.lengths().sum() / rows.count).sqrt() + 1e-12


@torch.no_grad()
def signals_of(rows: Seen, weighted: Tensor) -> Tensor:
    """Return the signals (N, k) with which scaled rows explain most of ``weighted`` (k, width)."""
    scale = scale_of(rows)
    if rows.count <= weighted.shape[1]:
        return _solved(rows.gram() / scale.square(), rows.times(weighted).flatten(0, 1) / scale)
    flat = rows.written().flatten(0, 1) / scale
    return flat @ _solved(flat.T @ flat, weighted.T)


def _solved(gram: Tensor, right: Tensor) -> Tensor:
    """Return ``(gram + RIDGE)^-1 right``."""
    gram.diagonal().add_(RIDGE)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if not bool(failed):
        solved: Tensor = torch.cholesky_solve(right, factor)
        return solved
    values, vectors = torch.linalg.eigh(gram.double())  # rounding of many alike rows
    solved = vectors @ ((vectors.T @ right.double()) / values.clamp(min=RIDGE)[:, None])
    return solved.to(right)


def outside(rows: Seen, kept: Tensor) -> Tensor:
    """Return (n,) the share of each input's rows that lies outside of what a change spans, in [0, 1], differentiable.

    Args:
        rows: What the layer sees of n inputs.
        kept: (r, width) of :class:`Directions`.
    """
    inside = rows.times(kept).square().sum((1, 2))
    return (1 - inside / (rows.lengths() + 1e-12)).clamp(min=0)


def shares(rows: Seen, weighted: Tensor) -> Tensor:
    """Return (n,) how much of a change each input explains: the length of its part of the best explanation.

    Args:
        rows: What the layer sees of n inputs.
        weighted: (k, width).
    """
    own = rows.written() / scale_of(rows)
    signals = signals_of(rows, weighted).view(*own.shape[:2], -1)
    products = (signals @ signals.transpose(1, 2)) * (own @ own.transpose(1, 2))
    return products.sum((1, 2)).clamp(min=0).sqrt()
