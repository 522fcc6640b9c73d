"""A change that may be that of an adapter merged into the weights: of one low rank in every matrix alike.

LoRA (Hu et al., https://arxiv.org/abs/2106.09685, section 4.1) adds ``s B A`` of rank r to each matrix, and its
libraries write the sum as plain weights (PEFT's ``merge_and_unload``). The rank of such a change is the adapter's,
whatever the number of records was, and its numbers are products, whose sizes tell no optimiser. Few records leave such
a change too, in one step; then a bias that trains has its change among the columns of its weight's. After more steps
the rank behind the first layer is higher.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .movement import Signal

MOST = 64
"""Ranks up to here are those of adapters that people use."""

LOOKED_AT = 6
"""Matrices, evenly spaced, that stand for all."""

ROOM = 2
"""A matrix shows its rank where its smaller side is at least so many times as large."""

ABOVE, OUTSIDE = 8.0, 1e-2
"""A singular value counts above this multiple of what rounding alone gives; a bias's change lies among the columns of
its weight's where at most this share of it is outside."""

_SPARE = 8
"""Columns of a sketch beyond the largest rank."""


def may_be_merged(signals: Sequence[Signal]) -> bool:
    """Return whether a change may be that of a merged adapter, so that neither rank nor sizes tell of the training.

    It may where all matrices that moved have one rank, far below their sides, and no bias shows that this is the number
    of records. A single such matrix says it only where its bias stood still.

    Args:
        signals: All parameters.
    """
    named = {signal.name: signal for signal in signals}
    moved = [s for s in signals if s.status == "moved" and s.before.ndim == 2 and s.fine and min(s.before.shape) > 1]
    chosen = moved[:: max(len(moved) // LOOKED_AT, 1)][:LOOKED_AT]
    found: dict[str, Tensor] = {}
    for signal in chosen:
        columns = _columns(signal)
        if columns is None:
            return False
        found[signal.name] = columns
    shown = {name: has for name, has in found.items() if ROOM * has.shape[1] <= min(named[name].before.shape)}
    biases = {name: named[bias] for name in shown if (bias := _bias(name)) in named}
    if len({columns.shape[1] for columns in shown.values()}) != 1 or _told(biases, shown):
        return False
    still = bool(biases) and all(bias.status == "frozen" for bias in biases.values())
    return still or len(shown) > 1


def _columns(signal: Signal) -> Tensor | None:
    """Return (units, r), an orthonormal basis of the change's columns; None where r is 0 or above MOST.

    A matrix whose rank is all that it can be has that many columns.
    """
    change, sides = signal.change, signal.before.shape
    width = min(*sides, MOST + _SPARE)
    gen = torch.Generator().manual_seed(0)
    sketch = torch.randn(sides[1], width, generator=gen, dtype=torch.float64)
    basis = torch.linalg.qr(change @ sketch).Q
    left, values, _ = torch.linalg.svd(basis.T @ change, full_matrices=False)
    floor = ABOVE * signal.noise * (math.sqrt(sides[0]) + math.sqrt(sides[1]))
    rank = int((values > floor).sum())
    return basis @ left[:, :rank] if 0 < rank <= MOST or rank == min(sides) else None


def _told(biases: Mapping[str, Signal], columns: Mapping[str, Tensor]) -> bool:
    """Return whether a bias that moved lies among the columns of its weight's change, as that of records does."""
    return any(
        bias.status == "moved" and _outside(bias.change, columns[name]) <= OUTSIDE for name, bias in biases.items()
    )


def _outside(change: Tensor, columns: Tensor) -> float:
    rest = change - columns @ (columns.T @ change)
    return float(rest.norm() / change.norm())


def _bias(weight: str) -> str:
    return f"{weight.removesuffix('weight')}bias"
