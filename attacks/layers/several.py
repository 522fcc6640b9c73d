"""Where the patches of several images lie: an affine space for each position, exactly, whatever the training.

The weight of a patch embedding changes by ``sum over images i and positions l of signal_il p_il^T``, the table of
positions by ``e_l = sum over i of signal_il``. While fewer patches than units and than numbers in a patch were seen,

- the change's rows span the patches, so that each is ``a_il`` times these rows, and
- the signals are the inverse of the matrix of all ``a_il``, so that their given sums mean ``a_il e_l' = 1`` where
  l' = l, else 0: as many equations as there are positions.

So every image is ``base_l + z_l differences`` with the same few directions everywhere: the span of how images differ.
For n images that leaves ``(n - 1) L`` numbers of a patch unknown, in place of all; for one image, none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .decay import Pair
from .spectrum import spectrum

FULL = 0.85
"""The change has the rank of whole images if at least this share of their patches shows in it: some may be alike."""


@dataclass(frozen=True)
class Space:
    """Affine spaces that patches lie in.

    Attributes:
        base: (positions, width) the point of each that is nearest to zero.
        differences: (k, width) orthonormal directions, the same for all positions.
    """

    base: Tensor
    differences: Tensor

    def nearest(self, patches: Tensor) -> Tensor:
        """Return the points of the spaces nearest to patches (n, positions, width), differentiable."""
        return self.base + ((patches - self.base) @ self.differences.T) @ self.differences


def space(weight: Pair, table: Pair, noise: float, count: int) -> tuple[int, Space | None]:
    """Return how many images there were, and the spaces that their patches lie in; ``None`` where these are everything.

    Args:
        weight: (units, width) of the patch embedding before and after training.
        table: (positions, units) before and after training.
        noise: Root mean square of the rounding in the difference of the weights.
        count: How many images there were, at a guess: it stays where the change does not show it.
    """
    seen = spectrum(weight, noise)
    positions, most = len(table[0]), min(seen.change.shape)
    rank = seen.edge.rank if seen.edge.clear else 0
    whole = -(-rank // positions)
    if rank and whole * positions < most and rank >= FULL * whole * positions:
        count = whole
    else:
        rank = count * positions
    if rank >= most:
        return count, None
    left, values, right = torch.linalg.svd(seen.change, full_matrices=False)
    sums = (table[1].double() - seen.factor * table[0].double()) @ (left[:, :rank] / values[:rank])
    base = torch.linalg.pinv(sums).T @ right[:rank]
    free = torch.linalg.svd(sums, full_matrices=True).Vh[positions:]
    return count, Space(base, free @ right[:rank])
