"""What several seeds of one attack agree on: the evidence of an attacker, who has no training data to compare with."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from ...attacks.contract.attack import Reconstruction
from .kind import Kind
from .pairing import assign

CONFIDENT = 0.6
"""Mean similarity between seeds from which a record counts as agreed on (docs/decisions/0006-leaderboard.md)."""

CHANCE, MARGIN = 0.99, 0.1
"""A record counts only so far above this quantile of the similarity between records of two seeds that do not belong
together: of blank images, those that are alike by chance come out as aligned."""

SHIFTS = 4
"""Each record is compared with at most this many others of another seed to learn what chance gives."""


@dataclass(frozen=True)
class Consensus:
    """What the seeds agree on.

    Attributes:
        reconstruction: The aligned records merged, labels by vote; the rest is that of the reference.
        confidence: (m,) mean similarity over all pairs of seeds, in [-1, 1]; a pair in which one has no partner counts
            as 0.
        reference: Index of the run with the lowest loss, to which the others were aligned.
        chance: :data:`CHANCE` quantile of the similarity between records that do not belong together; ``None`` for a
            single one.
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


def consensus(kind: Kind, runs: Sequence[Reconstruction]) -> Consensus:
    """Align the reconstructions of one attack with several seeds, and take what they have in common.

    An attack that ignores its seed agrees with itself, and blank images agree with each other: the first must not be
    asked, the second is what ``chance`` shows.

    Args:
        kind: What the records are.
        runs: At least two, of records of one shape; perhaps of different numbers of them.

    Raises:
        ValueError: There are fewer than two, or their records differ in shape.
    """
    if len(runs) < 2:
        raise ValueError("a consensus needs the reconstructions of two seeds")
    if len({run.records.shape[1:] for run in runs}) > 1:
        raise ValueError("the seeds' records differ in shape")
    losses = torch.tensor([run.loss for run in runs], dtype=torch.float64).nan_to_num(float("inf"), float("inf"))
    reference = int(losses.argmin())
    records = [run.records.detach().cpu() for run in runs]
    first, itself = records[reference], torch.arange(len(records[reference]))
    aligned = [itself if run == reference else align(kind, first, other) for run, other in enumerate(records)]
    places = torch.stack(aligned)
    confidence, chance = _agreement(kind, records, places)
    best = runs[reference]
    found = Reconstruction(
        records=_merged(kind, records, places).to(best.records),
        inputs=_merged(kind, [run.inputs.detach().cpu() for run in runs], places).to(best.inputs),
        labels=_votes([run.labels.tolist() for run in runs], places, reference).to(best.labels),
        influence=best.influence,
        loss=best.loss,
        twins=best.twins,
    )
    return Consensus(found, confidence, reference, chance)


def align(kind: Kind, reference: Tensor, other: Tensor) -> Tensor:
    """Return (m,) where each record of ``reference`` is found in ``other``; -1 where there are too few.

    One to one by :meth:`.kind.Kind.alignment`.

    Args:
        kind: What the records are.
        reference: (m, ...) records.
        other: (k, ...) records.
    """
    places = torch.full((len(reference),), -1)
    for row, column in assign(kind.alignment(reference, other).numpy(), "hungarian"):
        places[row] = column
    return places


def _agreement(kind: Kind, records: Sequence[Tensor], places: Tensor) -> tuple[Tensor, float | None]:
    """Return the mean similarity (m,) of the seeds' aligned records, and what those give that do not belong."""
    count = places.shape[1]
    total, apart = torch.zeros(count, dtype=torch.float64), []
    pairs = list(combinations(range(len(records)), 2))
    for one, two in pairs:
        for shift in range(min(count, SHIFTS + 1)):
            mine, its = places[one], places[two].roll(shift)
            both = (mine >= 0) & (its >= 0)
            scores = kind.pairs(records[one][mine[both]], records[two][its[both]])
            if shift:
                apart.append(scores)
            else:
                total[both] += scores
    chance = torch.cat(apart) if apart else torch.empty(0)
    return total / len(pairs), float(chance.quantile(CHANCE)) if len(chance) else None


def _merged(kind: Kind, records: Sequence[Tensor], places: Tensor) -> Tensor:
    """Return (m, ...): at each place what the records aligned with it have in common."""
    rows = places.T.tolist()
    return torch.stack([kind.merged(torch.stack([records[run][i] for run, i in enumerate(r) if i >= 0])) for r in rows])


def _votes(labels: Sequence[Sequence[int]], places: Tensor, reference: int) -> Tensor:
    """Return (m,) labels; the reference decides a tie."""
    order = [reference, *(run for run in range(len(labels)) if run != reference)]
    votes = [Counter(labels[run][row[run]] for run in order if row[run] >= 0) for row in places.T.tolist()]
    return torch.tensor([vote.most_common(1)[0][0] for vote in votes])
