"""How alike two sets of images are: SSIM, mean squared error and PSNR of every pair.

All functions take images (count, c, h, w), compute in float64 on the device of ``truth`` and hold in memory
only a slice of the pairs.
"""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .kind import Told, unheard

Mode = Literal["audit", "paper"]

MAX_PSNR = 100.0
"""dB; stands for the infinite PSNR of identical images."""

_CHUNK = 2**18  # Elements of one slice of pairs: 2 MB of float64, so that the filters work in the cache.


class _Windowed(NamedTuple):
    """Images with the mean, its square, and the variance in each window."""

    images: Tensor
    mean: Tensor
    energy: Tensor
    variance: Tensor

    def part(self, which: slice) -> "_Windowed":
        return _Windowed(*(values[which] for values in self))


def ssim_matrix(truth: Tensor, guess: Tensor, mode: Mode, told: Told = unheard) -> Tensor:
    """Return the structural similarity (Wang et al. 2004) of every pair, as ``skimage.metrics.structural_similarity``.

    - ``audit``: pixels, clamped to [0, 1]; ``data_range=1, gaussian_weights=True, sigma=1.5,
      use_sample_covariance=False``. The definition of Wang et al., comparable between victims.
    - ``paper``: victim-normalised images, not clamped; a uniform 7 x 7 window, sample covariance, and as data range
      the span of the true image, as the SimuDy authors score. Not symmetric. A constant
      true image has no span; 1 is taken instead.

    The score is the mean over channels and over the window positions that lie wholly inside the image. Images smaller
    than the window are scored with the largest odd window that fits.

    Args:
        truth: (m, c, h, w) images.
        guess: (n, c, h, w) reconstructions.
        mode: See above.
        told: Hears of pairs while they are scored.

    Returns:
        (m, n) float64 in [-1, 1]. What is not a number in a guess counts as 0 in audit mode and score -1 in paper mode.

    Raises:
        ValueError: The images of the two sets have different shapes.
    """
    truth, guess = _comparable(truth, guess)
    taps = _window(mode, min(truth.shape[-2:]))
    if mode == "audit":
        truth, guess = _pixels(truth), _pixels(guess)
    windowed = _windowed(guess, taps)
    area = len(taps) ** 2
    unbiased = area / max(area - 1, 1) if mode == "paper" else 1.0

    def score(image: Tensor, part: slice) -> Tensor:
        span = float(image.max() - image.min()) or 1.0 if mode == "paper" else 1.0
        return _similarity(_windowed(image, taps), windowed.part(part), taps, span, unbiased)

    return _pairwise(truth, guess, score, told)


def ssim_pairs(one: Tensor, two: Tensor) -> Tensor:
    """Return the audit-mode SSIM of each image of ``one`` with the image at the same place of ``two``.

    Args:
        one: (n, c, h, w) pixels.
        two: As ``one``; audit-mode SSIM does not depend on their order.

    Returns:
        (n,) float64 in [-1, 1].

    Raises:
        ValueError: The two sets have different shapes.
    """
    if one.shape != two.shape:
        raise ValueError(f"images of shape {tuple(one.shape)} compared with {tuple(two.shape)}")
    one, two = (_pixels(images) for images in _comparable(one, two))
    taps = _window("audit", min(one.shape[-2:]))
    step, scores = max(_CHUNK // one.shape[1:].numel(), 1), [one.new_empty(0)]
    for start in range(0, len(one), step):
        a, b = (_windowed(images[start : start + step], taps) for images in (one, two))
        scores.append(_similarity(a, b, taps))
    return torch.cat(scores)


def mse_matrix(truth: Tensor, guess: Tensor) -> Tensor:
    """Return the mean squared error of every pair of images, on pixels clamped to [0, 1].

    Args:
        truth: (m, c, h, w) pixels.
        guess: (n, c, h, w) pixels; what is not a number counts as 0.

    Returns:
        (m, n) float64 in [0, 1].

    Raises:
        ValueError: The images of the two sets have different shapes.
    """
    truth, guess = (_pixels(images) for images in _comparable(truth, guess))
    return _pairwise(truth, guess, lambda image, part: (guess[part] - image).square().mean((1, 2, 3)))


def psnr(mse: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio ``10 log10(1 / mse)`` in dB, at most :data:`MAX_PSNR`; any shape."""
    return (-10 * mse.log10()).clamp(max=MAX_PSNR)


def _comparable(truth: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
    if truth.shape[1:] != guess.shape[1:]:
        raise ValueError(f"images of shape {tuple(truth.shape[1:])} compared with {tuple(guess.shape[1:])}")
    truth = truth.double()
    return truth, guess.detach().to(truth)


def _pixels(images: Tensor) -> Tensor:
    return images.nan_to_num(0.0).clamp(0, 1)


def _pairwise(truth: Tensor, guess: Tensor, score: Callable[[Tensor, slice], Tensor], told: Told = unheard) -> Tensor:
    """Fill (m, n) with the scores of each true image against a slice of the guesses."""
    scores = guess.new_empty(len(truth), len(guess))
    step = max(_CHUNK // truth.shape[1:].numel(), 1)
    for image, row in zip(truth, scores, strict=True):
        for start in range(0, len(guess), step):
            part = slice(start, start + step)
            row[part] = score(image, part)
            told(len(row[part]))
    return scores


def _window(mode: Mode, side: int) -> list[float]:
    """Weights of the window along one axis, summing to 1: 11 Gaussian (radius 3.5 sigma) or 7 equal ones."""
    size = min(11 if mode == "audit" else 7, side - 1 + side % 2)
    if mode == "paper":
        return [1 / size] * size
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    weights = torch.exp(-0.5 * (offsets / 1.5) ** 2)
    return [float(weight) for weight in weights / weights.sum()]


def _windowed(images: Tensor, taps: list[float]) -> _Windowed:
    mean = _smooth(images, taps)
    energy = mean.square()
    return _Windowed(images, mean, energy, _smooth(images.square(), taps) - energy)


def _similarity(one: _Windowed, two: _Windowed, taps: list[float], span: float = 1.0, unbiased: float = 1.0) -> Tensor:
    """SSIM of images at the same place (n,); a single image is compared with each of the others."""
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    product = one.mean * two.mean
    covariance = _smooth(one.images * two.images, taps).sub_(product)
    above = product.mul_(2).add_(c1).mul_(covariance.mul_(2 * unbiased).add_(c2))
    spread = (one.variance + two.variance).mul_(unbiased).add_(c2)
    below = (one.energy + two.energy).add_(c1).mul_(spread)
    return above.div_(below).mean((1, 2, 3)).nan_to_num(-1.0, -1.0, -1.0)


def _smooth(images: Tensor, taps: list[float]) -> Tensor:
    """Weighted mean over each window that lies inside the image: (..., h', w').

    One axis after the other as the product with a banded matrix: in float64 on a CPU, up to about a hundred pixels
    per side, faster than shifted sums, and several times faster than a convolution.
    """
    for axis in (-1, -2):
        images = (images.transpose(axis, -1) @ _band(images.shape[axis], tuple(taps)).to(images)).transpose(axis, -1)
    return images


@functools.lru_cache(maxsize=8)
def _band(length: int, taps: tuple[float, ...]) -> Tensor:
    """Return the (length, length') matrix whose columns are the window at each place."""
    band = torch.zeros(length, length - len(taps) + 1, dtype=torch.float64)
    for shift, weight in enumerate(taps):
        band.diagonal(-shift).fill_(weight)
    return band
