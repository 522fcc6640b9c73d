"""Which reconstruction shows which training image, and is that more than chance?

This is the only file of the product where training data and reconstructions meet. Nothing goes back from here to an
attack: what an attack may know of the data is in its victim and its recipe.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..attacks.base import Normalisation, Reconstruction
from .data.base import DataError, TrainingSet
from .metrics import mse_matrix, psnr, ssim_matrix

Method = Literal["hungarian", "greedy"]
Scores = NDArray[np.float64]

RECOVERED_SSIM = 0.4
"""SSIM from which a sample counts as reconstructed: the practice of Haim et al. 2022 and Buzaglo et al. 2023."""

NULL_QUANTILE = 0.99
"""With a control set a sample counts only above this quantile of chance: one false alarm in a hundred."""


@dataclass(frozen=True)
class Match:
    """One training image paired with the reconstruction that is taken to show it.

    Attributes:
        sample: Index into the training set.
        dummy: Index into the reconstruction.
        ssim: Audit-mode SSIM in [-1, 1] (:func:`.metrics.ssim_matrix`).
        ssim_paper: SSIM as the SimuDy authors compute it, in [-1, 1].
        psnr: Peak signal-to-noise ratio in dB, at most 100.
        mse: Mean squared error of the pixels, in [0, 1].
        p_value: Probability of such an SSIM by chance, in (0, 1]; ``None`` without a control set.
        recovered: The SSIM reaches :data:`RECOVERED_SSIM` and, with a control set, exceeds what chance gives.
    """

    sample: int
    dummy: int
    ssim: float
    ssim_paper: float
    psnr: float
    mse: float
    p_value: float | None
    recovered: bool


@dataclass(frozen=True)
class Matching:
    """All matches of one reconstruction.

    Attributes:
        matches: Ordered by sample.
        null: Audit-mode SSIM of the same reconstructions matched with held-out images; ``None`` without a control set.
    """

    matches: tuple[Match, ...]
    null: Scores | None


def match(
    reconstruction: Reconstruction,
    truth: TrainingSet,
    normalisation: Normalisation,
    control: TrainingSet | None = None,
    method: Method = "hungarian",
) -> Matching:
    """Pair reconstructions with training images one to one by audit-mode SSIM, and score the pairs.

    Args:
        reconstruction: What the attack claims.
        truth: The training images, of the same shape.
        normalisation: The victim's, for the score of the paper.
        control: Images from the same source that were not trained on, of the same shape. At least as many as the
            training images, or chance is underestimated (:func:`null_scores`).
        method: See :func:`assign`.

    Returns:
        ``min(m, n)`` matches, ordered by sample, and the null they were held against.

    Raises:
        DataError: The control set holds training images, or shapes differ.
    """
    _check_shape("training", truth, reconstruction.images)
    null: Scores | None = None
    if control is not None:
        _check_shape("control", control, reconstruction.images)
        check_held_out(control, truth)
        null = null_scores(reconstruction.images, control, len(truth.images), method)
    scores = ssim_matrix(truth.images, reconstruction.images, "audit").cpu().numpy()
    pairs = sorted(assign(scores, method))
    found = (_judge(reconstruction, truth, normalisation, null, pair, float(scores[pair])) for pair in pairs)
    return Matching(tuple(found), null)


def assign(scores: Scores, method: Method) -> list[tuple[int, int]]:
    """Pair rows with columns one to one so that scores are high.

    Args:
        scores: (m, n), finite; higher is better.
        method: ``hungarian`` gives the greatest sum. ``greedy`` takes the best pair, removes its row and column, and
            so on, as the SimuDy authors evaluate; its sum is never greater.

    Returns:
        ``min(m, n)`` pairs (row, column); greedy ones in the order in which they were found.
    """
    return _METHODS[method](scores)


def null_scores(images: Tensor, control: TrainingSet, size: int, method: Method) -> Scores:
    """Return the SSIM that chance gives: the same reconstructions matched with images that were not trained on.

    The control set is cut into disjoint folds, each of the size of the training set, because the best of many
    candidates is better than the best of few. The rest that fills no fold is dropped. A control set smaller than one
    fold is used whole, which underestimates chance.

    Args:
        images: (n, c, h, w) reconstructions, pixels in [0, 1].
        control: Held-out images of the same shape.
        size: Images a fold, at least 1: the number of training images.
        method: See :func:`assign`.

    Returns:
        (folds * min(size, n),) audit-mode SSIM of the matched pairs of all folds.
    """
    folds = max(len(control.images) // size, 1)
    scores = ssim_matrix(control.images[: folds * size], images, "audit").cpu().numpy()
    matched = (fold[pair] for fold in np.array_split(scores, folds) for pair in assign(fold, method))
    return np.fromiter(matched, dtype=np.float64)


def p_value(score: float, null: Scores) -> float:
    """Return the probability in (0, 1] of ``score`` or more by chance, ``(1 + #{null >= score}) / (1 + #null)``."""
    return float((1 + np.count_nonzero(null >= score)) / (1 + null.size))


def _hungarian(scores: Scores) -> list[tuple[int, int]]:
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]


def _greedy(scores: Scores) -> list[tuple[int, int]]:
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for place in np.argsort(-scores, axis=None, kind="stable"):
        row, column = divmod(int(place), scores.shape[1])
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return list(pairs.items())


_METHODS: dict[str, Callable[[Scores], list[tuple[int, int]]]] = {"hungarian": _hungarian, "greedy": _greedy}


def _judge(
    reconstruction: Reconstruction,
    truth: TrainingSet,
    normalisation: Normalisation,
    null: Scores | None,
    pair: tuple[int, int],
    ssim: float,
) -> Match:
    """Score one pair (sample, dummy) in full."""
    sample, dummy = pair
    image, guess = truth.images[sample : sample + 1], reconstruction.images[dummy : dummy + 1]
    mse = mse_matrix(image, guess)
    normalised = reconstruction.normalised[dummy : dummy + 1]
    paper = ssim_matrix(normalisation.from_pixels(image), normalised, "paper")
    scored: dict[str, Any] = {"ssim_paper": float(paper), "psnr": float(psnr(mse)), "mse": float(mse)}
    chance = -1.0 if null is None else float(np.quantile(null, NULL_QUANTILE, method="higher"))
    return Match(
        sample=sample,
        dummy=dummy,
        ssim=ssim,
        p_value=None if null is None else p_value(ssim, null),
        recovered=ssim >= RECOVERED_SSIM and ssim > chance,
        **scored,
    )


def _check_shape(role: str, data: TrainingSet, images: Tensor) -> None:
    if data.images.shape[1:] != images.shape[1:]:
        found, wanted = tuple(data.images.shape[1:]), tuple(images.shape[1:])
        raise DataError(f"The {role} images have shape {found}, the reconstructions {wanted}.")


def check_held_out(control: TrainingSet, truth: TrainingSet) -> None:
    """Raise :class:`DataError` if images stand in both sets."""
    trained = {image.numpy().tobytes() for image in truth.images}
    shared = sum(image.numpy().tobytes() in trained for image in control.images)
    if shared:
        raise DataError(
            f"{shared} of the {len(control.images)} control images are training images.",
            "A control set must be held out: give images of the same kind that were not trained on.",
        )
