"""Versions of images as training may have seen them: mirrored and shifted at random."""

import torch
from torch import Tensor
from torch.nn.functional import pad

REACH = 1 / 8
"""Largest shift as a share of the side: 4 pixels of 32, as is usual (He et al. 2016, section 4.2)."""


def versions(x: Tensor, count: int, black: Tensor, gen: torch.Generator) -> Tensor:
    """Return (n * count, c, h, w) versions of images (n, c, h, w), those of one image together; linear in the images.

    The first one is the image itself. The others are shifted by up to :data:`REACH` of the smaller side, and every
    second of them is mirrored; they are drawn once, the same for all images.

    Args:
        x: Images in any unit.
        count: Versions of each, at least 1.
        black: What enters at the border, in the unit of ``x``, of a shape that broadcasts to it.
        gen: Draws the shifts, and which half is mirrored.
    """
    if count == 1:
        return x
    height, width = x.shape[2:]
    reach = max(round(REACH * min(height, width)), 1)
    shifts = torch.randint(2 * reach + 1, (count - 1, 2), generator=gen).tolist()
    mirrored = int(torch.randint(2, (), generator=gen))
    wide = pad(x - black, (reach,) * 4) + black
    found = [x]
    for number, (top, left) in enumerate(shifts):
        shifted = wide[:, :, top : top + height, left : left + width]
        found.append(shifted.flip(3) if number % 2 == mirrored else shifted)
    return torch.stack(found, 1).flatten(0, 1)
