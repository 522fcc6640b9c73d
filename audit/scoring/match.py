"""Which reconstruction shows which training record, and is that more than chance?

This is the only file of the product where training data and reconstructions meet. Nothing goes back from here to an
attack: what an attack may know of the data is in its victim and its recipe.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from ...attacks.contract.attack import Reconstruction
from ..data.base import DataError, TrainingSet
from . import chance
from .kind import Kind, KindError, Told, unheard
from .levels import LEVEL
from .pairing import Method, Scores, assign

_NONE: Scores = np.empty(0)

_ROUNDING = 1e-6
"""How far rounding may take a similarity out of [-1, 1]."""


@dataclass(frozen=True)
class Match:
    """One training record paired with the reconstruction that is taken to show it.

    Attributes:
        sample: Index into the training set.
        dummy: Index into the reconstruction.
        similarity: Of the two, in [-1, 1].
        details: Further numbers on the pair (:meth:`.kind.Kind.details`).
        nearest: Highest similarity of the sample to any reconstruction.
        p_value: Probability of such a ``nearest`` by chance, in (0, 1] (:func:`.chance.p_values`).
        q_value: That, adjusted over all training records.
        rank: Place of the sample among training and held-out records by similarity to this reconstruction; ``None``
            without a control set.
        recovered: The similarity reaches the threshold of the kind, and the q-value is at most the level.
    """

    sample: int
    dummy: int
    similarity: float
    details: dict[str, float]
    nearest: float
    p_value: float
    q_value: float
    rank: int | None
    recovered: bool


@dataclass(frozen=True)
class Null:
    """What chance gives.

    Attributes:
        kind: ``control`` for held-out records; ``mismatched`` where there are none (:func:`mismatched`).
        values: (c,) highest similarity of each comparison record.
        matched: Similarity of the same reconstructions paired with held-out records one to one; empty without them.
    """

    kind: Literal["control", "mismatched"]
    values: Scores
    matched: Scores


@dataclass(frozen=True)
class Matching:
    """All matches of one reconstruction.

    Attributes:
        matches: Ordered by sample.
        observed: (m,) highest similarity of each training record to any reconstruction.
        null: What that was compared with.
        nearest: How many different records of the pool, training and held-out ones, are nearest to a reconstruction,
            and how many of these are training records; ``None`` without a control set.
    """

    matches: tuple[Match, ...]
    observed: Scores
    null: Null
    nearest: tuple[int, int] | None


def match(
    reconstruction: Reconstruction,
    truth: TrainingSet,
    kind: Kind,
    control: TrainingSet | None = None,
    method: Method = "hungarian",
    level: float = LEVEL,
    told: Told = unheard,
) -> Matching:
    """Pair reconstructions with training records one to one by their similarity, and score the pairs.

    Args:
        reconstruction: What the attack claims.
        truth: The training records, of the same shape.
        kind: What the records are.
        control: Records from the same source that were not trained on, of the same shape.
        method: See :func:`.pairing.assign`.
        level: False discovery rate at which a record counts as recovered, in (0, 1).
        told: Hears of pairs while they are scored: :func:`comparisons` in all.

    Returns:
        ``min(m, n)`` matches, ordered by sample, and the null they were compared with.

    Raises:
        DataError: The control set holds training records, or shapes differ.
        KindError: A similarity that is not a number in [-1, 1].
    """
    _check_shape(kind, "training", truth, reconstruction.records)
    if control is not None:
        _check_shape(kind, "control", control, reconstruction.records)
        check_held_out(kind, control, truth)
    scores = _scored(kind, truth.records, reconstruction.records, told)
    pairs = sorted(assign(scores, method))
    if control is None:
        others = None
        null = Null("mismatched", mismatched(kind, scores, pairs, reconstruction.records, truth.records, told), _NONE)
    else:
        others = _scored(kind, control.records, reconstruction.records, told)
        null = Null("control", others.max(1), matched_null(others, len(scores), method))
    observed = scores.max(1)
    p = chance.p_values(observed, null.values)
    judge = _Judge(reconstruction, truth, kind, scores, others, p, chance.q_values(p), level)
    nearest = None if others is None else _nearest(scores, others)
    return Matching(tuple(judge(*pair) for pair in pairs), observed, null, nearest)


def comparisons(kind: Kind, truth: TrainingSet, control: TrainingSet | None, count: int) -> int:
    """Return how many pairs of records :func:`match` scores where there are ``count`` reconstructions."""
    more = len(truth.records) * len(kind.mismatches(truth.records[:0])) if control is None else len(control.records)
    return count * (len(truth.records) + more)


def _scored(kind: Kind, records: Tensor, guesses: Tensor, told: Told) -> Scores:
    scores = kind.matrix(records, guesses, told).cpu().numpy()
    if not (np.abs(scores) <= 1 + _ROUNDING).all():
        raise KindError(
            f"The {kind.about.statistic} of some {kind.about.words.many} is not in [-1, 1].",
            f"Without it nothing can be concluded: repair the package that brings the kind {kind.about.name!r}.",
        )
    return scores


def matched_null(scores: Scores, size: int, method: Method) -> Scores:
    """Return the similarity of the same reconstructions to records that were not trained on, paired in the same way.

    The control set is cut into disjoint folds, each of the size of the training set, because the best of many
    candidates is better than the best of few. The rest that fills no fold is dropped. A control set smaller than one
    fold is used whole, which underestimates chance.

    Args:
        scores: (c, n) similarity of held-out records to reconstructions.
        size: Records per fold, at least 1: the number of training records.
        method: See :func:`.pairing.assign`.

    Returns:
        (folds * min(size, n),) similarity of the pairs of all folds.
    """
    folds = max(len(scores) // size, 1)
    matched = (fold[pair] for fold in np.array_split(scores[: folds * size], folds) for pair in assign(fold, method))
    return np.fromiter(matched, dtype=np.float64)


def mismatched(
    kind: Kind, scores: Scores, pairs: list[tuple[int, int]], guesses: Tensor, truth: Tensor, told: Told = unheard
) -> Scores:
    """Return the highest similarity of each training record to reconstructions that cannot be of it.

    Those are the reconstructions that were paired with other records, or with none, and, as the best one is missing
    there, versions of all reconstructions that cannot be of any (:meth:`.kind.Kind.mismatches`; of images, turned and
    mirrored ones). Weaker than held-out records: it takes for granted that such versions are as likely; records that
    such a version leaves as they are, and copies in the training set, make it strict. A single record with a single
    reconstruction has nothing to be compared with but its own versions, which is not a comparison: then it is empty.

    Args:
        kind: What the records are.
        scores: (m, n) similarity of training records to reconstructions.
        pairs: Which belongs to which.
        guesses: (n, ...) reconstructions.
        truth: (m, ...) training records.
        told: Hears of pairs while they are scored.
    """
    own = dict(pairs)
    rows = [np.delete(row, own[i]) if i in own else row for i, row in enumerate(scores)]
    others = [row.max() for row in rows if len(row)]
    if not others:
        return _NONE
    values = [np.array(others)]
    values += [_scored(kind, truth, version, told).max(1) for version in kind.mismatches(guesses)]
    return np.concatenate(values)


def _nearest(scores: Scores, others: Scores) -> tuple[int, int]:
    places = set(np.concatenate([scores, others]).argmax(0).tolist())
    return len(places), sum(place < len(scores) for place in places)


@dataclass(frozen=True)
class _Judge:
    """Scores one pair (sample, dummy) in full."""

    reconstruction: Reconstruction
    truth: TrainingSet
    kind: Kind
    scores: Scores
    others: Scores | None
    p: Scores
    q: Scores
    level: float

    def __call__(self, sample: int, dummy: int) -> Match:
        record, guess = self.truth.records[sample : sample + 1], self.reconstruction.records[dummy : dummy + 1]
        similarity, q = float(self.scores[sample, dummy]), float(self.q[sample])
        return Match(
            sample=sample,
            dummy=dummy,
            similarity=similarity,
            details=self.kind.details(record, guess, self.reconstruction.inputs[dummy : dummy + 1]),
            nearest=float(self.scores[sample].max()),
            p_value=float(self.p[sample]),
            q_value=q,
            rank=self._rank(sample, dummy),
            recovered=similarity >= self.kind.about.threshold and q <= self.level,
        )

    def _rank(self, sample: int, dummy: int) -> int | None:
        if self.others is None:
            return None
        pool = np.concatenate([self.scores[:, dummy], self.others[:, dummy]])
        return 1 + int((pool > self.scores[sample, dummy]).sum())


def _check_shape(kind: Kind, role: str, data: TrainingSet, guesses: Tensor) -> None:
    if data.records.shape[1:] != guesses.shape[1:]:
        found, wanted = tuple(data.records.shape[1:]), tuple(guesses.shape[1:])
        raise DataError(f"The {role} {kind.about.words.many} have shape {found}, the reconstructions {wanted}.")


def check_held_out(kind: Kind, control: TrainingSet, truth: TrainingSet) -> None:
    """Raise :class:`DataError` if records are in both sets."""
    trained = {record.numpy().tobytes() for record in truth.records}
    shared = sum(record.numpy().tobytes() in trained for record in control.records)
    if shared:
        many = kind.about.words.many
        raise DataError(
            f"{shared} of the {len(control.records)} control {many} are training {many}.",
            f"A control set must be held out: give {many} of the same kind that were not trained on.",
        )
