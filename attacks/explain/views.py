"""Views of images as training may have seen them: flipped and shifted at random."""

import torch
from torch import Tensor
from torch.nn.functional import pad

REACH = 1 / 8
"""Largest shift as a share of the side: 4 pixels of 32, as is usual (He et al. 2016, section 4.2)."""


def views(images: Tensor, count: int, gen: torch.Generator) -> Tensor:
    """Return (n, count, c, h, w) views of images (n, c, h, w) in [0, 1]: each flipped or not, and shifted.

    What enters at the border is black. The first view is the image itself.
    """
    height, width = images.shape[2:]
    reach = max(round(REACH * min(height, width)), 1)
    padded = pad(images, (reach,) * 4)
    drawn = []
    for image, wide in zip(images, padded, strict=True):
        drawn.append(image)
        shifts = torch.randint(2 * reach + 1, (count - 1, 2), generator=gen).tolist()
        flips = torch.randint(2, (count - 1,), generator=gen).tolist()
        for (top, left), flip in zip(shifts, flips, strict=True):
            view = wide[:, top : top + height, left : left + width]
            drawn.append(view.flip(2) if flip else view)
    return torch.stack(drawn).view(len(images), count, *images.shape[1:])
