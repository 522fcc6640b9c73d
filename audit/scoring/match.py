"""Which reconstruction shows which training image, and is that more than chance?

This is the only file of the product where training data and reconstructions meet. Nothing goes back from here to an
attack: what an attack may know of the data is in its victim and its recipe.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ...attacks.contract.attack import Reconstruction
from ...attacks.contract.medium import Medium
from ..data.base import DataError, TrainingSet
from . import chance as calibrate
from .similarity import Told, mse_matrix, psnr, ssim_matrix, unheard

Method = Literal["hungarian", "greedy"]
Scores = NDArray[np.float64]

RECOVERED_SSIM = 0.4
"""SSIM from which a sample counts as reconstructed: the practice of Haim et al. 2022 and Buzaglo et al. 2023."""


_COPY, _PLAIN = 0.01, 0.05
"""Root mean square difference of pixels under which images are copies, unless they are nearly blank."""


@dataclass(frozen=True)
class Match:
    """One training image paired with the reconstruction that is taken to show it.

    Attributes:
        sample: Index into the training set.
        dummy: Index into the reconstruction.
        ssim: Audit-mode SSIM in [-1, 1] (:func:`.similarity.ssim_matrix`).
        ssim_paper: SSIM as the SimuDy authors compute it, in [-1, 1].
        psnr: Peak signal-to-noise ratio in dB, at most 100.
        mse: Mean squared error of the pixels, in [0, 1].
        nearest_ssim: Highest SSIM of the sample with any reconstruction.
        p_value: Probability of such a ``nearest_ssim`` by chance, in (0, 1] (:func:`.chance.p_values`).
        q_value: That, adjusted over all training images.
        rank: Place of the sample among training and held-out images by SSIM with this reconstruction; ``None``
            without a control set.
        recovered: The SSIM reaches :data:`RECOVERED_SSIM`, and the q-value is at most the level.
    """

    sample: int
    dummy: int
    ssim: float
    ssim_paper: float
    psnr: float
    mse: float
    nearest_ssim: float
    p_value: float
    q_value: float
    rank: int | None
    recovered: bool


@dataclass(frozen=True)
class Null:
    """What chance gives.

    Attributes:
        kind: ``control`` for held-out images; ``mismatched`` where there are none (:func:`mismatched`).
        values: (c,) highest SSIM of each comparison image.
        matched: Audit-mode SSIM of the same reconstructions paired with held-out images one to one; empty without them.
    """

    kind: Literal["control", "mismatched"]
    values: Scores
    matched: Scores


@dataclass(frozen=True)
class Matching:
    """All matches of one reconstruction.

    Attributes:
        matches: Ordered by sample.
        observed: (m,) highest SSIM of each training image with any reconstruction.
        null: What that was held against.
        nearest: How many different images of the pool, training and held-out ones, are nearest to a reconstruction,
            and how many of these are training images; ``None`` without a control set.
    """

    matches: tuple[Match, ...]
    observed: Scores
    null: Null
    nearest: tuple[int, int] | None


def match(
    reconstruction: Reconstruction,
    truth: TrainingSet,
    medium: Medium,
    control: TrainingSet | None = None,
    method: Method = "hungarian",
    level: float = calibrate.LEVEL,
    told: Told = unheard,
) -> Matching:
    """Pair reconstructions with training images one to one by audit-mode SSIM, and score the pairs.

    Args:
        reconstruction: What the attack claims.
        truth: The training images, of the same shape.
        medium: The victim's, for the score of the paper.
        control: Images from the same source that were not trained on, of the same shape.
        method: See :func:`assign`.
        level: False discovery rate at which an image counts as recovered, in (0, 1).
        told: Hears of pairs while they are scored: :func:`comparisons` in all.

    Returns:
        ``min(m, n)`` matches, ordered by sample, and the null they were held against.

    Raises:
        DataError: The control set holds training images, or shapes differ.
    """
    _check_shape("training", truth, reconstruction.records)
    if control is not None:
        _check_shape("control", control, reconstruction.records)
        check_held_out(control, truth)
    scores = _scored(truth.records, reconstruction.records, told)
    pairs = sorted(assign(scores, method))
    others = None if control is None else _scored(control.records, reconstruction.records, told)
    null = _null(scores, others, pairs, reconstruction.records, truth.records, method, told)
    observed = scores.max(1)
    p = calibrate.p_values(observed, null.values)
    judge = _Judge(reconstruction, truth, medium, scores, others, p, calibrate.q_values(p), level)
    nearest = None if others is None else _nearest(scores, others)
    return Matching(tuple(judge(*pair) for pair in pairs), observed, null, nearest)


def comparisons(truth: TrainingSet, control: TrainingSet | None, count: int) -> int:
    """Return how many pairs of images :func:`match` scores where there are ``count`` reconstructions."""
    more = len(truth.records) * len(_ways(truth.records)) if control is None else len(control.records)
    return count * (len(truth.records) + more)


def _scored(images: Tensor, guesses: Tensor, told: Told) -> Scores:
    return ssim_matrix(images, guesses, "audit", told).cpu().numpy()


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


def matched_null(scores: Scores, size: int, method: Method) -> Scores:
    """Return the SSIM of the same reconstructions paired with images that were not trained on.

    The control set is cut into disjoint folds, each of the size of the training set, because the best of many
    candidates is better than the best of few. The rest that fills no fold is dropped. A control set smaller than one
    fold is used whole, which underestimates chance.

    Args:
        scores: (c, n) SSIM of held-out images with reconstructions.
        size: Images a fold, at least 1: the number of training images.
        method: See :func:`assign`.

    Returns:
        (folds * min(size, n),) SSIM of the pairs of all folds.
    """
    folds = max(len(scores) // size, 1)
    matched = (fold[pair] for fold in np.array_split(scores[: folds * size], folds) for pair in assign(fold, method))
    return np.fromiter(matched, dtype=np.float64)


def mismatched(
    scores: Scores, pairs: list[tuple[int, int]], images: Tensor, truth: Tensor, told: Told = unheard
) -> Scores:
    """Return the highest SSIM of each training image with reconstructions that cannot be of it.

    Those are the reconstructions that were paired with other images, or with none, and, as the best one is missing
    there, all reconstructions turned and mirrored: seven ways where images are square, three otherwise. Weaker than
    held-out images: it takes for granted that pictures are as likely when turned; symmetric pictures and copies of
    one image in the training set make it strict. A single image with a single reconstruction has nothing to be held
    against but its own turned ones, which is no comparison: then it is empty.

    Args:
        scores: (m, n) SSIM of training images with reconstructions.
        pairs: Which belongs to which.
        images: (n, c, h, w) reconstructions, pixels in [0, 1].
        truth: (m, c, h, w) training images.
        told: Hears of pairs while they are scored.
    """
    own = dict(pairs)
    rows = [np.delete(row, own[i]) if i in own else row for i, row in enumerate(scores)]
    others = [row.max() for row in rows if len(row)]
    if not others:
        return np.empty(0)
    values = [np.array(others)]
    values += [_scored(truth, turned, told).max(1) for turned in _turned(images)]
    return np.concatenate(values)


def _turned(images: Tensor) -> list[Tensor]:
    """Return the images mirrored and turned in every way that keeps their shape, but not as they are."""
    turned = ((torch.rot90(images, quarters, (-2, -1)), mirrored) for quarters, mirrored in _ways(images))
    return [image.flip(-1) if mirrored else image for image, mirrored in turned]


def _ways(images: Tensor) -> list[tuple[int, bool]]:
    """Return by how many quarters images can be turned, and whether mirrored too; not those that change nothing."""
    quarters = (0, 1, 2, 3) if images.shape[-1] == images.shape[-2] else (0, 2)
    return [(count, mirrored) for mirrored in (False, True) for count in quarters if count or mirrored]


def _nearest(scores: Scores, others: Scores) -> tuple[int, int]:
    places = set(np.concatenate([scores, others]).argmax(0).tolist())
    return len(places), sum(place < len(scores) for place in places)


def _null(
    scores: Scores,
    others: Scores | None,
    pairs: list[tuple[int, int]],
    images: Tensor,
    truth: Tensor,
    method: Method,
    told: Told,
) -> Null:
    if others is None:
        return Null("mismatched", mismatched(scores, pairs, images, truth, told), np.empty(0))
    return Null("control", others.max(1), matched_null(others, len(scores), method))


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


@dataclass(frozen=True)
class _Judge:
    """Scores one pair (sample, dummy) in full."""

    reconstruction: Reconstruction
    truth: TrainingSet
    medium: Medium
    scores: Scores
    others: Scores | None
    p: Scores
    q: Scores
    level: float

    def __call__(self, sample: int, dummy: int) -> Match:
        image, guess = self.truth.records[sample : sample + 1], self.reconstruction.records[dummy : dummy + 1]
        mse = mse_matrix(image, guess)
        normalised = self.reconstruction.inputs[dummy : dummy + 1]
        ssim, q = float(self.scores[sample, dummy]), float(self.q[sample])
        return Match(
            sample=sample,
            dummy=dummy,
            ssim=ssim,
            ssim_paper=float(ssim_matrix(self.medium.encode(image), normalised, "paper")),
            psnr=float(psnr(mse)),
            mse=float(mse),
            nearest_ssim=float(self.scores[sample].max()),
            p_value=float(self.p[sample]),
            q_value=q,
            rank=self._rank(sample, dummy),
            recovered=ssim >= RECOVERED_SSIM and q <= self.level,
        )

    def _rank(self, sample: int, dummy: int) -> int | None:
        if self.others is None:
            return None
        pool = np.concatenate([self.scores[:, dummy], self.others[:, dummy]])
        return 1 + int((pool > self.scores[sample, dummy]).sum())


def _check_shape(role: str, data: TrainingSet, images: Tensor) -> None:
    if data.records.shape[1:] != images.shape[1:]:
        found, wanted = tuple(data.records.shape[1:]), tuple(images.shape[1:])
        raise DataError(f"The {role} images have shape {found}, the reconstructions {wanted}.")


def near_copies(control: TrainingSet, truth: TrainingSet) -> int:
    """Return how many held-out images are training images but for scaling or compression, at 8 x 8 pixels."""
    small = [adaptive_avg_pool2d(data.records, 8).flatten(1).double() for data in (control, truth)]
    apart = torch.cdist(small[0], small[1]).amin(1) / small[0].shape[1] ** 0.5
    plain = small[0].std(1) < _PLAIN
    return int(((apart < _COPY) & ~plain).sum())


def check_held_out(control: TrainingSet, truth: TrainingSet) -> None:
    """Raise :class:`DataError` if images stand in both sets."""
    trained = {image.numpy().tobytes() for image in truth.records}
    shared = sum(image.numpy().tobytes() in trained for image in control.records)
    if shared:
        raise DataError(
            f"{shared} of the {len(control.records)} control images are training images.",
            "A control set must be held out: give images of the same kind that were not trained on.",
        )
