"""Images as records: pixels in [0, 1], which the network sees normalised."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..contract.medium import Parametrisation
from .normalisation import PLAIN, Normalisation
from .priors import total_variation
from .variables import PARAMETRISATIONS, compose, lookalikes
from .views import versions


@dataclass(frozen=True)
class Images:
    """Images (n, c, h, w), as :class:`..contract.medium.Medium` has it.

    Attributes:
        normalisation: Pixels to network inputs.
    """

    kind: ClassVar[str] = "image"
    normalisation: Normalisation = PLAIN

    def variables(self, noise: Tensor, parametrisation: Parametrisation) -> dict[str, Tensor]:
        """Return the first variables of images of the shape of ``noise``; see :mod:`.variables`."""
        return PARAMETRISATIONS[parametrisation](noise, self.normalisation)

    def inputs(self, variables: Mapping[str, Tensor]) -> Tensor:
        """Return the normalised images that variables stand for."""
        return compose(variables)

    def roughness(self, x: Tensor, chroma: float = 1.0) -> Tensor:
        """Return the total variation of normalised images; see :func:`.priors.total_variation`."""
        return total_variation(x, chroma)

    def excess(self, x: Tensor) -> Tensor:
        """Return the mean squared distance of normalised images from the range of pixels, [0, 1] (a scalar).

        Without it a stronger contrast can stand in for a larger learning rate: training sees little but their product.
        """
        return (x - self.within(x)).square().mean()

    def lookalikes(self, variables: Mapping[str, Tensor], stride: int) -> list[dict[str, Tensor]]:
        """Return the variables of all images moved by ``stride`` pixels each way, and mirrored; none of a generator."""
        return lookalikes(variables, stride)

    def versions(self, x: Tensor, count: int, gen: torch.Generator) -> Tensor:
        """Return mirrored and shifted versions of normalised images, black at the border; see :mod:`.views`."""
        return versions(x, count, self.encode(x.new_zeros(1, x.shape[1], 1, 1)), gen)

    def within(self, x: Tensor) -> Tensor:
        """Return normalised images moved into the range of pixels."""
        return self.encode(self.records(x))

    def records(self, x: Tensor) -> Tensor:
        """Return the pixels of normalised images, clamped to [0, 1]."""
        return self.normalisation.to_pixels(x).clamp(0, 1)

    def encode(self, records: Tensor) -> Tensor:
        """Return the normalised images of pixels."""
        return self.normalisation.from_pixels(records)
