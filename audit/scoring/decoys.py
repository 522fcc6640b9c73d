"""The floor under every similarity: what images score that no attack made."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from skimage import restoration
from torch import Tensor

from ..report.results import Decoy
from .similarity import ssim_matrix

_denoised: Callable[..., NDArray[np.float32]] = restoration.denoise_tv_chambolle

_WEIGHT = 0.3
"""Strength of the total-variation smoothing: noise becomes soft blotches, like a reconstruction that failed."""


def mean_image(truth: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Return the mean of the training images: what one learns of a set without any of its images."""
    return truth.mean(0, keepdim=True)


def smoothed_noise(truth: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Return ``count`` images of noise with the mean and spread of the training set, smoothed by total variation."""
    noise = torch.randn(count, *truth.shape[1:], generator=rng) * truth.std() + truth.mean()
    smooth = [torch.from_numpy(_denoised(image.numpy(), _WEIGHT, channel_axis=0)) for image in noise]
    return torch.stack(smooth).to(truth).clamp(0, 1)


DECOYS: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "mean of the training images": mean_image,
    "smoothed noise": smoothed_noise,
}


def decoys(truth: Tensor, count: int, rng: torch.Generator) -> list[Decoy]:
    """Match as many decoys of each kind as there are reconstructions with the training images, one to one.

    Args:
        truth: (m, c, h, w) training images, pixels in [0, 1].
        count: Number of reconstructions.
        rng: Draws the noise.
    """
    return [_score(name, truth, make(truth, count, rng), count) for name, make in DECOYS.items()]


def _score(name: str, truth: Tensor, images: Tensor, count: int) -> Decoy:
    """Describe ``count`` decoys; a single image stands for as many of its kind."""
    scores = ssim_matrix(truth, images, "audit").expand(-1, count).numpy()
    best = scores[linear_sum_assignment(scores, maximize=True)]
    return Decoy(name=name, ssim_mean=float(best.mean()), ssim_max=float(best.max()))
