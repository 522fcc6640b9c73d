"""What images look like before any parameter is seen."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from .colours import to_opponent


def total_variation(x: Tensor, chroma: float = 1.0) -> Tensor:
    """Return the anisotropic total variation of images (n, c, h, w): mean absolute difference of neighbours (a scalar).

    A mean over all images, so that its weight does not depend on their number or on the batches (the reference code
    multiplies it by the number of batches). A direction in which images have one pixel adds nothing.

    Args:
        x: Images.
        chroma: Unless it is 1, three channels are first turned to opponent colours, and the two that are not
            brightness count this many times.
    """
    if chroma != 1 and x.shape[1] == 3:
        x = to_opponent(x) * x.new_tensor([1.0, chroma, chroma]).view(3, 1, 1)
    differences = (x.diff(dim=-1), x.diff(dim=-2))
    return sum((d.abs().mean() for d in differences if d.numel()), start=x.new_zeros(()))


def unblurred(x: Tensor) -> Tensor:
    """Return the mean squared difference of images (n, c, h, w) from their blur over 3 x 3 pixels (a scalar)."""
    taps = x.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3)
    blurred = conv2d(pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=x.shape[1])
    return (x - blurred).square().mean()
