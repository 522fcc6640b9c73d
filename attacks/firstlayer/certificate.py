"""Exact directions of the training inputs, from units that are never active: SPEAR's idea as a check and a polish.

In the coordinates of a :class:`.Subspace` the change of the first layer is ``U diag(s) = D C`` with C (n, r) the
inputs. A unit that stays inactive for input i throughout training has an exact zero in column i of D. So the vector q
with ``U q = D e_i`` is the null vector of those rows of U, and where enough rows are known to be zero it is unique
(Dimitrov et al., 2024, section 4, for one gradient; over training the signals add up). Which units are inactive is
taken from approximate inputs, the most inactive ones first, so those need not be good: what comes out is exact or is
recognised as not unique.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

UNIQUE = 0.01
"""A null vector is unique when its singular value is below this share of the next one."""

SHARES = (1.0, 0.7, 0.35, 0.15, 0.05)
"""Which share of the inactive units beyond the number of unknowns is used: many make the vector surely unique, few are
surely inactive. The first that gives a unique one counts."""

SPARE = 1.1
"""Inactive units needed per unknown: with hardly more units than unknowns, one wrong unit spoils the vector."""

NOTHING = 1e-3
"""Singular values below this share of the largest are taken for zero."""

LIKELY = 0.8
"""Share of one direction's non-zero signals that must belong to units active for the approximate input."""

AGREEMENT = 0.95
"""Share of a complete solution's non-zero signals that must belong to active units; mixtures of inputs fail this."""

ZERO = 1e-3
"""Entries of ``U q`` below this share of the largest count as zero."""

SAME = 0.99
"""Cosine above which two directions are one."""


@dataclass(frozen=True)
class Directions:
    """Exact directions.

    Attributes:
        q: (r, k) columns of unit norm: ``U q`` is zero for the units that are inactive for the owner.
        owners: (k,) the input that each belongs to.
        residual: Largest ratio of the two smallest singular values among them, in [0, :data:`UNIQUE`].
    """

    q: Tensor
    owners: Tensor
    residual: float


def certified(basis: Tensor, highest: Tensor) -> Directions:
    """Return the exact directions that approximate inputs lead to, at most one per input.

    Args:
        basis: (width, r) the matrix U above, with orthonormal columns.
        highest: (n, width) each unit's highest pre-activation for each approximate input, before and after training.
    """
    found: list[tuple[float, int, Tensor]] = []
    for row in range(len(highest)):
        tries = (_null(basis, highest[row], share) for share in SHARES)
        ratio, vector = next((item for item in tries if item[0] < UNIQUE), (math.inf, basis[0]))
        if ratio < UNIQUE and agreement(basis, vector[:, None], highest[row : row + 1]) > LIKELY:
            found.append((ratio, row, vector))
    kept: list[tuple[float, int, Tensor]] = []
    for item in sorted(found, key=lambda item: item[0]):
        if all(abs(float(item[2] @ other[2])) < SAME for other in kept):
            kept.append(item)
    columns = [item[2] for item in kept]
    q = torch.stack(columns, 1) if columns else basis.new_zeros(basis.shape[1], 0)
    owners = torch.tensor([item[1] for item in kept], dtype=torch.long)
    return Directions(q, owners, max((item[0] for item in kept), default=0.0))


def _null(basis: Tensor, highest: Tensor, share: float) -> tuple[float, Tensor]:
    """Return how far from unique the null vector over the most inactive units is, and the refined vector."""
    unknown, inactive = basis.shape[1], int((highest < 0).sum())
    count = unknown + int(share * (inactive - unknown))
    if inactive < SPARE * unknown or unknown < 2:
        return math.inf, basis.new_zeros(unknown)
    ratio, vector = _smallest(basis[highest.argsort()[:count]])
    if ratio >= UNIQUE:
        return ratio, vector
    signal = (basis @ vector).abs()
    refined = _smallest(basis[signal < ZERO * signal.max()])
    return refined if refined[0] < ratio else (ratio, vector)


def _smallest(rows: Tensor) -> tuple[float, Tensor]:
    """Return the smallest singular value over the next one, and its right singular vector.

    Infinity where the next one is nothing either: then a mixture of inputs fits as well.
    """
    squares, vectors = torch.linalg.eigh(rows.T @ rows)
    values = squares.clamp(min=0).sqrt()
    unique = bool(values[1] > NOTHING * values[-1])
    return float(values[0] / values[1]) if unique else math.inf, normalize(vectors[:, 0], dim=0)


def agreement(basis: Tensor, q: Tensor, highest: Tensor) -> float:
    """Return the share of non-zero signals ``basis q`` (width, k) whose unit is active at all for its input.

    Args:
        basis: As in :func:`certified`.
        q: (r, k) directions.
        highest: (k, width) highest pre-activations for the inputs that the directions give.
    """
    signals = (basis @ q).abs()
    there = signals > ZERO * signals.amax(0)
    return float((there & (highest.T > 0)).sum() / there.sum().clamp(min=1))
