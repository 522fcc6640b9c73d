"""What a change's cover becomes where the rows of one input are exchanged for others, for each input by itself.

With the inverse of the Gram matrix of all rows at hand, taking one input's rows out and putting others in are updates
by as many rows as it has (Schur complements), so that no cover is computed anew for each input.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from .coverage import RIDGE, scale_of
from .seen import Seen


@torch.no_grad()
def swapped(own: Seen, other: Seen, weighted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cover (a scalar) of all inputs, and (n,) the covers where one of them is seen as ``other``, float64.

    As :func:`.coverage.cover`, with rows divided by what makes those of ``own`` of unit length, without a gradient.
    Not a number where rounding leaves no answer.

    Args:
        own: What a layer sees of n inputs.
        other: What it sees of n others, one for each.
        weighted: (k, width) of :class:`.coverage.Directions`.
    """
    scale, weighted = scale_of(own).double(), weighted.double()
    own, other = (replace(rows, source=rows.source.double() / scale) for rows in (own, other))
    gram = own.gram()
    gram.diagonal().add_(RIDGE)
    factor, failed = torch.linalg.cholesky_ex(gram)
    inverse = torch.cholesky_inverse(factor) if not bool(failed) else torch.full_like(gram, math.nan)
    rows, theirs = own.written().flatten(0, 1), other.written()  # float64: faster by matrices than by convolutions
    right = rows @ weighted.T
    signals = inverse @ right
    whole = weighted.square().sum() - (right * signals).sum()
    blocks = torch.split(torch.arange(own.count, device=gram.device), own.positions)
    rises = []
    for block, new in zip(blocks, theirs, strict=True):
        room = new @ new.T + RIDGE * torch.eye(len(new)).to(new)
        rises.append(_rise(inverse, right, signals, block, rows @ new.T, new @ weighted.T, room))
    return whole, whole + torch.stack(rises)


def _rise(
    inverse: Tensor, right: Tensor, signals: Tensor, block: Tensor, shared: Tensor, theirs: Tensor, room: Tensor
) -> Tensor:
    """Return by how much the cover rises where p other rows take the place of those of a block.

    Args:
        inverse: (N, N) of the ridged Gram matrix of all own rows.
        right: (N, k) their products with the change's directions.
        signals: (N, k) ``inverse @ right``.
        block: (p,) which rows go.
        shared: (N, p) products of own rows with the others.
        theirs: (p, k) products of the others with the directions.
        room: (p, p) their ridged Gram matrix.
    """
    kept, gone = inverse[block][:, block], signals[block]
    lost = (gone * torch.linalg.solve_ex(kept, gone).result).sum()
    shared[block] = 0
    solved = inverse @ shared
    solved -= inverse[:, block] @ torch.linalg.solve_ex(kept, solved[block]).result
    solved[block] = 0
    rest = theirs - solved.T @ right
    risen: Tensor = lost - (rest * torch.linalg.solve_ex(room - shared.T @ solved, rest).result).sum()
    return risen
