"""What a change's cover becomes where the rows of one input are exchanged for others, for each input by itself.

With the inverse of the Gram matrix of all rows at hand, taking one input's rows out and putting others in are updates
by as many rows as it has (Schur complements), so that no cover is computed anew for each input.
"""

import torch
from torch import Tensor

from .coverage import RIDGE, scale_of
from .seen import Seen, beside


@torch.no_grad()
def swapped(own: Seen, other: Seen, weighted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cover (a scalar) of all inputs, and (n,) the covers where one of them is seen as ``other``, float64.

    As :func:`.coverage.cover`, with rows divided by what makes those of ``own`` of unit length, without a gradient.

    Args:
        own: What a layer sees of n inputs.
        other: What it sees of n others, one for each.
        weighted: (k, width) of :class:`.coverage.Directions`.
    """
    both, directions = beside(own, other), weighted.double()
    scale, count = scale_of(own).double(), own.count
    gram, right = both.gram() / scale.square(), both.times(directions).flatten(0, 1) / scale
    gram.diagonal().add_(RIDGE)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram[:count, :count]))
    signals = inverse @ right[:count]
    whole = directions.square().sum() - (right[:count] * signals).sum()
    blocks = torch.split(torch.arange(count, device=right.device), own.positions)
    return whole, torch.stack([whole + _rise(gram, right, inverse, signals, block) for block in blocks])


def _rise(gram: Tensor, right: Tensor, inverse: Tensor, signals: Tensor, block: Tensor) -> Tensor:
    """Return by how much the cover rises where the rows of a block are those behind those of all inputs."""
    count, theirs = len(inverse), block + len(inverse)
    lost = (signals[block] * torch.linalg.solve(inverse[block][:, block], signals[block])).sum()
    shared = gram[:count, theirs].clone()
    shared[block] = 0
    solved = inverse @ shared
    solved -= inverse[:, block] @ torch.linalg.solve(inverse[block][:, block], solved[block])
    solved[block] = 0
    rest = right[theirs] - solved.T @ right[:count]
    room = gram[theirs][:, theirs] - shared.T @ solved
    risen: Tensor = lost - (rest * torch.linalg.solve(room, rest)).sum()
    return risen
