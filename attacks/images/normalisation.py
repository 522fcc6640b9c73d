"""The units of images: pixels and what the network sees."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """Per-channel affine map between pixels in [0, 1] and what the network sees; the only place where units change.

    Attributes:
        mean: One number per channel, or a single number for any count of channels.
        std: As ``mean``; positive.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def _columns(self, like: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, 1, 1)
        return like.new_tensor(self.mean).view(shape), like.new_tensor(self.std).view(shape)

    def to_pixels(self, x: Tensor) -> Tensor:
        """Map network inputs (n, c, h, w) to pixels (n, c, h, w), not clamped."""
        mean, std = self._columns(x)
        return x * std + mean

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """Map pixels (n, c, h, w) in [0, 1] to network inputs (n, c, h, w)."""
        mean, std = self._columns(pixels)
        return (pixels - mean) / std


PLAIN = Normalisation()
"""Network inputs that are pixels as they are."""
