"""Which dummies stand for no record: a set larger than the training set leaves some idle (SimuDy, section 4.5)."""

import torch
from torch import Tensor

GAP = 1.3
"""Ratio of neighbouring influences that separates; in the paper 1.12 over 0.84."""

APART = 2.0
"""Ratio of the mean influences of the two groups at least; in the paper 1.55 over 0.55."""


def insignificant(influence: Tensor, twins: Tensor | None = None) -> Tensor:
    """Return (n,) booleans: the dummies below a clear gap in influence, and those that share another one's record.

    The widest ratio between neighbours, counted where at most half of the dummies lie below it, splits them off; there
    must be a gap of :data:`GAP` and means :data:`APART` apart, or all count as significant.

    Args:
        influence: (n,) norms of the dummies' summed gradients, not negative.
        twins: (n,) booleans, see :mod:`.twins`; they have no part in the gap.
    """
    idle = torch.zeros(len(influence), dtype=torch.bool) if twins is None else twins.cpu().clone()
    rest = (~idle).nonzero().flatten()
    idle[rest] = _below_gap(influence.detach().cpu()[rest])
    return idle


def _below_gap(influence: Tensor) -> Tensor:
    values, order = influence.double().sort()
    none = torch.zeros(len(values), dtype=torch.bool)
    half = len(values) // 2
    if half == 0 or not bool(torch.isfinite(values).all()):
        return none
    ratios = values[1 : half + 1] / values[:half].clamp(min=1e-30)
    cut = int(ratios.argmax()) + 1
    if ratios[cut - 1] < GAP or values[cut:].mean() < APART * values[:cut].mean():
        return none
    none[order[:cut]] = True
    return none
