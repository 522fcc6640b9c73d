"""Opponent colours: brightness, red against blue, green against magenta (Ohta et al., 1980)."""

import torch
from torch import Tensor

OPPONENT = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""The axes in RGB, not normalised."""


def axes(like: Tensor) -> Tensor:
    """Return the (3, 3) orthonormal axes, one in each row."""
    found = like.new_tensor(OPPONENT)
    lengths: Tensor = torch.linalg.vector_norm(found, dim=1, keepdim=True)
    return found / lengths


def to_opponent(x: Tensor) -> Tensor:
    """Return RGB images (n, 3, h, w) in opponent coordinates."""
    return torch.einsum("ij,njhw->nihw", axes(x), x)
