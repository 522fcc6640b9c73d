"""What images look like before any parameter is seen."""

from torch import Tensor

from ..contract.victim import Normalisation


def total_variation(x: Tensor) -> Tensor:
    """Return the anisotropic total variation of images (n, c, h, w): mean absolute difference of neighbours (a scalar).

    A mean over all images, so that its weight does not depend on their number or on the batches (the reference code
    multiplies it by the number of batches). A direction in which images have one pixel adds nothing.
    """
    differences = (x.diff(dim=-1), x.diff(dim=-2))
    return sum((d.abs().mean() for d in differences if d.numel()), start=x.new_zeros(()))


def box(x: Tensor, normalisation: Normalisation) -> Tensor:
    """Return the mean squared distance of normalised images (n, c, h, w) from the range of pixels, [0, 1] (a scalar).

    Without it a stronger contrast can stand in for a larger learning rate: training sees little but their product.
    """
    pixels = normalisation.to_pixels(x)
    bounded = normalisation.from_pixels(pixels.clamp(0, 1))
    return (x - bounded).square().mean()
