"""What images look like before any parameter is seen."""

from torch import Tensor


def total_variation(x: Tensor) -> Tensor:
    """Return the anisotropic total variation of images (n, c, h, w): mean absolute difference of neighbours (a scalar).

    A mean over all images, so that its weight does not depend on their number or on the batches (the reference code
    multiplies it by the number of batches).
    """
    return (x[..., 1:] - x[..., :-1]).abs().mean() + (x[..., 1:, :] - x[..., :-1, :]).abs().mean()
