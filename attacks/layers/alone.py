"""The patches of one image, exactly, from the changes of a patch embedding and of its table of positions.

Under SGD every step adds ``signal_l p_l^T`` to the weight and ``signal_l`` to row l of the table. One image's patches
p_l never change, and momentum, schedule and weight decay weigh the steps of both alike, so that

    ``W_f - alpha W_0 = sum over l of (E_f - alpha E_0)_l p_l^T``

in any number of steps, with the factor alpha by which decay shrank both. Least squares give the patches; what they
leave over tells whether there was one image. APRIL (Lu et al., CVPR 2022) has this for one gradient.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..optimise.lbfgs import LBFGS

SPARE = 8
"""Units beyond the positions, at least, for what is left over to tell anything."""

LOUDEST = 0.1
"""A combination of patches is read off where noise in it is at most this share of how far inputs differ."""

SKETCH = 48
"""Columns of the weight, combined at random, by which the factor of decay is sought."""

SHRUNK = (1e-7, 0.5)
"""Least and largest share of the weights that decay may have taken."""

BETTER = 0.8
"""Decay is believed in where it leaves at most this share of what no decay leaves over."""

REFINED = 24
"""Halvings, nearly, of the interval of the factor of decay."""

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Change:
    """What training added to the weight and to the table, decay undone; float64.

    Attributes:
        weight: (units, width).
        table: (positions, units).
        factor: By which decay shrank the weight.
        kept: Whether the table did not decay.
    """

    weight: Tensor
    table: Tensor
    factor: float = 1.0
    kept: bool = False

    @property
    def left(self) -> float:
        """How much of the weight's change no image explains, 1 for a change that has nothing to do with the table.

        The norm of what lies outside of the rows of the table, beside what would by chance; 1 where these leave no
        room.
        """
        units, positions = len(self.weight), len(self.table)
        if units - positions < SPARE:
            return 1.0
        basis = torch.linalg.qr(self.table.T).Q
        rest = self.weight - basis @ (basis.T @ self.weight)
        whole = float(self.weight.norm()) * math.sqrt(1 - positions / units)
        return float(rest.norm()) / whole if whole else 1.0


def undone(weight: Pair, table: Pair, known: float = 1.0) -> Change:
    """Return the changes with that decay undone that leaves least over.

    Where units are too few to tell, it is what is ``known``. Tables are often left out of decay; both are tried.

    Args:
        weight: (units, width) before and after training.
        table: (positions, units) before and after training.
        known: The factor of decay as far as the recipe tells.
    """
    before, after = ([side.double() for side in sides] for sides in zip(weight, table, strict=True))

    def change(factor: float, kept: bool, mix: Tensor | None = None) -> Change:
        start, end = (side[0] if mix is None else side[0] @ mix for side in (before, after))
        return Change(end - factor * start, after[1] - (1.0 if kept else factor) * before[1], factor, kept)

    units, width = before[0].shape
    if units - len(before[1]) < SPARE:
        return change(known, False)
    draw = torch.Generator().manual_seed(0)
    mix = torch.randn(width, SKETCH, generator=draw, dtype=torch.float64).to(before[0]) if width > SKETCH else None

    def lowest(kept: bool) -> tuple[float, float, bool]:
        return *_lowest(lambda share: change(1 - share, kept, mix).left), kept

    least, share, kept = min(lowest(False), lowest(True))
    return change(1 - share, kept) if least < BETTER * change(1.0, False, mix).left else change(1.0, False)


def _lowest(left: Callable[[float], float]) -> tuple[float, float]:
    """Return the least value of a function of the share that decay took, and that share."""
    grid = [SHRUNK[0] * (SHRUNK[1] / SHRUNK[0]) ** (point / (3 * REFINED)) for point in range(3 * REFINED + 1)]
    values = [left(share) for share in grid]
    best = values.index(min(values))
    low, high = (math.log(grid[min(max(best + side, 0), len(grid) - 1)]) for side in (-1, 1))
    golden = (math.sqrt(5) - 1) / 2
    inner = [high - golden * (high - low), low + golden * (high - low)]
    found = [left(math.exp(point)) for point in inner]
    for _ in range(REFINED):
        if found[0] < found[1]:
            high, inner[1], found[1] = inner[1], inner[0], found[0]
            inner[0] = high - golden * (high - low)
            found[0] = left(math.exp(inner[0]))
        else:
            low, inner[0], found[0] = inner[0], inner[1], found[1]
            inner[1] = low + golden * (high - low)
            found[1] = left(math.exp(inner[1]))
    return min((found[0], math.exp(inner[0])), (found[1], math.exp(inner[1])), (values[best], grid[best]))


@dataclass(frozen=True)
class Read:
    """Patches as far as the changes tell them.

    Attributes:
        patches: (positions, width) of least length.
        free: (positions, k) orthonormal columns: multiples of these may be added at will.
        error: Root mean square of the error that noise brings into the rest.
    """

    patches: Tensor
    free: Tensor
    error: float


def patches_of(change: Change, noise: float, spread: float) -> Read:
    """Return the patches that least squares give.

    Args:
        change: Decay undone.
        noise: Root mean square of the rounding in an entry of the weight's change, at least; more shows in what is left
            over.
        spread: Standard deviation of inputs.
    """
    units, positions = len(change.weight), len(change.table)
    left, values, right = torch.linalg.svd(change.table, full_matrices=False)  # (L, r), (r,), (r, units)
    moments = right @ change.weight
    if units > positions:
        rest = change.weight - right.T @ moments
        noise = max(noise, float(rest.norm()) / math.sqrt(rest.shape[1] * (units - positions)))
    told = values > max(noise / (LOUDEST * spread), 1e-12 * float(values[0]))
    patches = (left[:, told] / values[told]) @ moments[told]
    error = noise * math.sqrt(float((1 / values[told]).square().sum()) / positions)
    whole = torch.linalg.svd(left[:, told], full_matrices=True).U
    return Read(patches, whole[:, int(told.sum()) :], error)


def smoothed(read: Read, roughness: Callable[[Tensor], Tensor], updates: int = 60) -> Tensor:
    """Return the patches (positions, width) with what is free in them chosen to be least rough.

    Args:
        read: What the changes tell.
        roughness: Of patches, differentiable.
        updates: Iterations of L-BFGS.
    """
    if not read.free.shape[1]:
        return read.patches
    loose = {"x": torch.zeros(read.free.shape[1], read.patches.shape[1]).to(read.patches)}
    solver = LBFGS(inner=updates, history=20)
    found, _ = solver.update(loose, {}, lambda given: roughness(read.patches + read.free @ given["x"]))
    return read.patches + read.free @ found["x"]
