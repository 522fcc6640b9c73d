"""What several seeds of one attack agree on: the evidence of an attacker, who has no training data to compare with."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...attacks.contract.attack import Reconstruction
from .match import assign
from .similarity import ssim_pairs

CONFIDENT = 0.6
"""Mean SSIM between seeds from which an image counts as agreed on (docs/decisions/0006-leaderboard.md says why)."""

CHANCE, MARGIN = 0.99, 0.1
"""An image counts only so far above this quantile of SSIM between images of two seeds that do not belong together:
of blank images, those that are alike by chance come out as aligned."""

SHIFTS = 4
"""Each image is held against at most so many others of another seed to learn what chance gives."""


@dataclass(frozen=True)
class Consensus:
    """What the seeds agree on.

    Attributes:
        reconstruction: Pixel-wise median of the aligned images, labels by vote; the rest is that of the reference.
        confidence: (m,) mean SSIM over all pairs of seeds, in [-1, 1]; a pair in which one has no partner counts as 0.
        reference: Index of the run with the lowest loss, to which the others were aligned.
        chance: :data:`CHANCE` quantile of SSIM between images that do not belong together; ``None`` for a single one.
    """

    reconstruction: Reconstruction
    confidence: Tensor
    reference: int
    chance: float | None

    @property
    def confident(self) -> Tensor:
        """(m,) booleans: the confidence reaches :data:`CONFIDENT`, and clearly exceeds what chance gives."""
        chance = -1.0 if self.chance is None else self.chance
        return (self.confidence >= CONFIDENT) & (self.confidence > chance + MARGIN)


def consensus(runs: Sequence[Reconstruction]) -> Consensus:
    """Align the reconstructions of one attack with several seeds, and take what they have in common.

    An attack that ignores its seed agrees with itself, and blank images agree with each other: the first must not be
    asked, the second is what ``chance`` shows.

    Args:
        runs: At least two, of images of one shape; perhaps of different numbers of them.

    Raises:
        ValueError: There are fewer than two, or their images differ in shape.
    """
    if len(runs) < 2:
        raise ValueError("a consensus needs the reconstructions of two seeds")
    if len({run.records.shape[1:] for run in runs}) > 1:
        raise ValueError("the seeds' images differ in shape")
    losses = torch.tensor([run.loss for run in runs], dtype=torch.float64).nan_to_num(float("inf"), float("inf"))
    reference = int(losses.argmin())
    images = [run.records.detach().cpu() for run in runs]
    itself = torch.arange(len(images[reference]))
    aligned = [itself if run == reference else align(images[reference], other) for run, other in enumerate(images)]
    places = torch.stack(aligned)
    confidence, chance = _agreement(images, places)
    best = runs[reference]
    found = Reconstruction(
        records=_medians(images, places).to(best.records),
        inputs=_medians([run.inputs.detach().cpu() for run in runs], places).to(best.inputs),
        labels=_votes([run.labels.tolist() for run in runs], places, reference).to(best.labels),
        influence=best.influence,
        loss=best.loss,
        twins=best.twins,
    )
    return Consensus(found, confidence, reference, chance)


def align(reference: Tensor, other: Tensor) -> Tensor:
    """Return (m,) where each image of ``reference`` is found in ``other``; -1 where there are too few.

    One to one by normalised cross-correlation of the channels: unlike SSIM, it still tells images apart under much
    noise, and like it, hardly minds brightness and contrast.

    Args:
        reference: (m, c, h, w) images.
        other: (k, c, h, w) images.
    """
    alike = _centred(reference) @ _centred(other).T
    places = torch.full((len(reference),), -1)
    for row, column in assign(alike.numpy(), "hungarian"):
        places[row] = column
    return places


def _centred(images: Tensor) -> Tensor:
    images = images.double().nan_to_num(0.0)
    return normalize((images - images.mean((2, 3), keepdim=True)).flatten(1))


def _agreement(images: Sequence[Tensor], places: Tensor) -> tuple[Tensor, float | None]:
    """Return the mean SSIM (m,) between the seeds' aligned images, and what those give that do not belong together."""
    count = places.shape[1]
    total, apart = torch.zeros(count, dtype=torch.float64), []
    pairs = list(combinations(range(len(images)), 2))
    for one, two in pairs:
        for shift in range(min(count, SHIFTS + 1)):
            mine, its = places[one], places[two].roll(shift)
            both = (mine >= 0) & (its >= 0)
            scores = ssim_pairs(images[one][mine[both]], images[two][its[both]])
            if shift:
                apart.append(scores)
            else:
                total[both] += scores
    chance = torch.cat(apart) if apart else torch.empty(0)
    return total / len(pairs), float(chance.quantile(CHANCE)) if len(chance) else None


def _medians(images: Sequence[Tensor], places: Tensor) -> Tensor:
    """Return (m, c, h, w): at each place the pixel-wise median of the images aligned with it."""
    return torch.stack(
        [_median(torch.stack([images[run][i] for run, i in enumerate(row) if i >= 0])) for row in places.T.tolist()]
    )


def _median(images: Tensor) -> Tensor:
    """Return (c, h, w), of an even number the mean of the middle two."""
    values, count = images.sort(0).values, len(images)
    return (values[(count - 1) // 2] + values[count // 2]) / 2


def _votes(labels: Sequence[Sequence[int]], places: Tensor, reference: int) -> Tensor:
    """Return (m,) labels; the reference decides a tie."""
    order = [reference, *(run for run in range(len(labels)) if run != reference)]
    votes = [Counter(labels[run][row[run]] for run in order if row[run] >= 0) for row in places.T.tolist()]
    return torch.tensor([vote.most_common(1)[0][0] for vote in votes])
