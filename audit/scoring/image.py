"""Images: similar by SSIM, shown as pictures. All tensors are (n, c, h, w) pixels in [0, 1].

Scoring must work on a machine that has torch and little else: what only reports need is imported where it is used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from ...attacks.contract.medium import Medium
from ..report.kind import IMAGE, RecordKind
from . import transforms
from .kind import Told, Transformed, unheard
from .similarity import mse_matrix, psnr, ssim_matrix, ssim_pairs

if TYPE_CHECKING:
    from ..report.exhibit import Picture

_COPY, _PLAIN = 0.01, 0.05
"""Root mean square difference of pixels under which images are copies, unless they are nearly blank."""

_WEIGHT = 0.3
"""Strength of the total-variation smoothing: noise becomes soft blotches, like a reconstruction that failed."""


@dataclass(frozen=True)
class Image:
    """Images, compared by SSIM and shown as pictures.

    Attributes:
        medium: The victim's, for the score of the paper.
    """

    medium: Medium
    about: ClassVar[RecordKind] = IMAGE

    def matrix(self, truth: Tensor, guess: Tensor, told: Told = unheard) -> Tensor:
        """Return audit-mode SSIM (:func:`.similarity.ssim_matrix`)."""
        return ssim_matrix(truth, guess, "audit", told)

    def pairs(self, one: Tensor, two: Tensor) -> Tensor:
        """Return audit-mode SSIM of images at the same place."""
        return ssim_pairs(one, two)

    def details(self, truth: Tensor, guess: Tensor, inputs: Tensor) -> dict[str, float]:
        """Return SSIM as the SimuDy authors compute it, PSNR in dB (at most 100) and the mean squared error."""
        mse = mse_matrix(truth, guess)
        paper = ssim_matrix(self.medium.encode(truth), inputs, "paper")
        return {"ssim_paper": float(paper), "psnr": float(psnr(mse)), "mse": float(mse)}

    def mismatches(self, records: Tensor) -> list[Tensor]:
        """Return the images mirrored and turned in every way that keeps their shape, but not as they are.

        Seven ways where images are square, three otherwise.
        """
        quarters = (0, 1, 2, 3) if records.shape[-1] == records.shape[-2] else (0, 2)
        ways = [(count, mirrored) for mirrored in (False, True) for count in quarters if count or mirrored]
        turned = ((torch.rot90(records, count, (-2, -1)), mirrored) for count, mirrored in ways)
        return [image.flip(-1) if mirrored else image for image, mirrored in turned]

    def transformed(
        self,
        records: Tensor,
        readings: Mapping[str, Tensor],
        guesses: Tensor,
        turned: bool,
        lacking: int,
        without: Tensor | None,
    ) -> Transformed:
        """Return images mirrored, turned, moved, or with axes, channels or fit read otherwise (:mod:`.transforms`)."""
        return transforms.transformed(records, readings, guesses, turned, lacking, without)

    def decoys(self, truth: Tensor, count: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Return the mean of the training images, and smoothed noise.

        The mean is what one learns of a set without any of its images. The noise has the mean and spread of the set
        and is smoothed by total variation.
        """
        from skimage.restoration import denoise_tv_chambolle

        noise = torch.randn(count, *truth.shape[1:], generator=rng) * truth.std() + truth.mean()
        denoised: Callable[..., NDArray[np.float32]] = denoise_tv_chambolle
        smooth = [torch.from_numpy(denoised(image.numpy(), _WEIGHT, channel_axis=0)) for image in noise]
        return {
            "mean of the training images": truth.mean(0, keepdim=True),
            "smoothed noise": torch.stack(smooth).to(truth).clamp(0, 1),
        }

    def alignment(self, one: Tensor, two: Tensor) -> Tensor:
        """Return the normalised cross-correlation of the channels.

        Unlike SSIM, it still tells images apart under much noise, and like it, hardly minds brightness and contrast.
        """
        return _centred(one) @ _centred(two).T

    def merged(self, records: Tensor) -> Tensor:
        """Return the pixel-wise median; of an even number the mean of the middle two."""
        values, count = records.sort(0).values, len(records)
        return (values[(count - 1) // 2] + values[count // 2]) / 2

    def near_copies(self, control: Tensor, truth: Tensor) -> int:
        """Return how many held-out images are training images but for scaling or compression, at 8 x 8 pixels."""
        small = [adaptive_avg_pool2d(images, 8).flatten(1).double() for images in (control, truth)]
        apart = torch.cdist(small[0], small[1]).amin(1) / small[0].shape[1] ** 0.5
        plain = small[0].std(1) < _PLAIN
        return int(((apart < _COPY) & ~plain).sum())

    def show(self, record: Tensor, folder: Path, name: str, keep: bool = True) -> "Picture":
        """Return a PNG, written unless nothing may be kept."""
        from ..report.exhibit import Picture
        from ..report.pictures import save_picture

        return Picture(path=save_picture(record, folder, name, keep))


def _centred(images: Tensor) -> Tensor:
    images = images.double().nan_to_num(0.0)
    return normalize((images - images.mean((2, 3), keepdim=True)).flatten(1))
