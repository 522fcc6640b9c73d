"""Units of one direction whose thresholds rise: each input stops at a unit of its own (Fowl et al., ICLR 2022)."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

PARALLEL = 0.999
"""Cosine from which rows count as one direction."""

LADDER = 8
"""Units of one direction, at least, with different thresholds."""

WIDE = 16
"""Numbers of an input, at least: of fewer, directions coincide by chance."""

SHARE = 0.5
"""Share of a layer's units, at least, for it to look made so. No training that we know makes one of any size."""

_TRIED = 64
"""Rows that are tried as the common direction."""


def ladder(weight: Tensor, bias: Tensor) -> Tensor:
    """Return the rows of one direction whose thresholds differ, the lowest first; none where fewer than a few do.

    Args:
        weight: (m, d).
        bias: (m,).
    """
    if weight.shape[1] < WIDE:
        return torch.zeros(0, dtype=torch.long)
    sizes = torch.linalg.vector_norm(weight, dim=1)
    rows = normalize(weight, dim=1)
    tried = rows[:: max(len(rows) // _TRIED, 1)]
    alike = tried @ rows.T > PARALLEL
    group = alike[alike.sum(1).argmax()].nonzero().flatten()
    group = group[sizes[group] > 0]
    threshold = -bias[group] / sizes[group]
    if len(threshold.unique()) < max(LADDER, len(group) // 2):
        return group[:0]
    return group[threshold.argsort(stable=True)]


def made(weight: Tensor, bias: Tensor) -> bool:
    """Return whether a layer looks made to let inputs stop at units of their own."""
    return len(ladder(weight, bias)) >= SHARE * len(weight)
