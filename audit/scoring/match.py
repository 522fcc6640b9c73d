"""Which reconstruction shows which training record, and is that more than chance?

This is the only file of the product where training data and reconstructions meet. Nothing goes back from here to an
attack: what an attack may know of the data is in its victim and its recipe.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...attacks.contract.attack import Reconstruction
from ..data.base import DataError, TrainingSet
from ..data.records import prints
from . import chance
from .compare import Compared, Pool, compare, passes
from .kind import Kind, Told, unheard
from .levels import LEVEL
from .null import NONE, Null, matched_null, mismatched
from .pairing import Method, Scores, assign


@dataclass(frozen=True)
class Match:
    """One training record paired with the reconstruction that is taken to show it.

    Attributes:
        sample: Index into the training set.
        dummy: Index into the reconstruction.
        similarity: Of the two, in [-1, 1].
        details: Further numbers on the pair (:meth:`.kind.Kind.details`).
        nearest: Highest similarity of the sample to any reconstruction, less :data:`.compare.CHARGE` in another way.
        p_value: Probability of such a ``nearest`` by chance, in (0, 1] (:func:`.chance.p_values`).
        q_value: That, adjusted over all training records.
        rank: Place of the sample among training and held-out records by similarity to this reconstruction; ``None``
            without a control set.
        recovered: The similarity reaches the threshold of the kind, and the q-value is at most the level.
        transform: What was done to the sample for that, in plain English; empty where it matches as it is.
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
    transform: str = ""


@dataclass(frozen=True)
class Matching:
    """All matches of one reconstruction.

    Attributes:
        matches: Ordered by sample.
        records: Of each match the training record (...) as it was compared, after its transform.
        observed: (m,) highest similarity of each training record to any reconstruction, as of :class:`.Match`.
        null: What that was compared with.
        nearest: How many different records of the pool, training and held-out ones, are nearest to a reconstruction,
            and how many of these are training records; ``None`` without a control set.
    """

    matches: tuple[Match, ...]
    records: tuple[Tensor, ...]
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

    A record may match in another way than it is given (:func:`.compare.compare`), and held-out ones likewise. Without
    them, mirrored and turned reconstructions stand for chance, and so records are neither mirrored nor turned.

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
    guesses, turned = reconstruction.records, control is not None
    own = _pool(truth, control)
    found = compare(kind, own, guesses, turned, told)
    scores = found.scores
    pairs = sorted(assign(scores, method))
    if control is None:
        others = None
        null = Null("mismatched", mismatched(kind, pairs, guesses, own, told), NONE)
    else:
        held_out = compare(kind, _pool(control, truth), guesses, turned, told)
        others = held_out.scores
        null = Null("control", others.max(1), matched_null(others, held_out.similarity, len(scores), method))
    observed = scores.max(1)
    p = chance.p_values(observed, null.values)
    judge = _Judge(reconstruction, kind, found, others, p, chance.q_values(p), level)
    nearest = None if others is None else _nearest(scores, others)
    matches = tuple(judge(*pair) for pair in pairs)
    return Matching(matches, tuple(found.shown(*pair) for pair in pairs), observed, null, nearest)


def _pool(data: TrainingSet, other: TrainingSet | None) -> Pool:
    readings = {reading.name: reading.records for reading in data.readings}
    lacking = 0 if other is None else len({reading.name for reading in other.readings} - readings.keys())
    return Pool(data.records, readings, lacking)


def comparisons(kind: Kind, truth: TrainingSet, control: TrainingSet | None, count: int) -> int:
    """Return how many pairs of records :func:`match` scores where there are ``count`` reconstructions."""
    own = len(truth.records)
    more = own * (1 + len(kind.mismatches(truth.records[:0]))) if control is None else len(control.records)
    return count * (own + more) * passes(kind)


def _nearest(scores: Scores, others: Scores) -> tuple[int, int]:
    places = set(np.concatenate([scores, others]).argmax(0).tolist())
    return len(places), sum(place < len(scores) for place in places)


@dataclass(frozen=True)
class _Judge:
    """Scores one pair (sample, dummy) in full."""

    reconstruction: Reconstruction
    kind: Kind
    found: Compared
    others: Scores | None
    p: Scores
    q: Scores
    level: float

    def __call__(self, sample: int, dummy: int) -> Match:
        record, guess = self.found.shown(sample, dummy)[None], self.reconstruction.records[dummy : dummy + 1]
        similarity, q = float(self.found.similarity[sample, dummy]), float(self.q[sample])
        return Match(
            sample=sample,
            dummy=dummy,
            similarity=similarity,
            details=self.kind.details(record, guess, self.reconstruction.inputs[dummy : dummy + 1]),
            nearest=float(self.found.scores[sample].max()),
            p_value=float(self.p[sample]),
            q_value=q,
            rank=self._rank(sample, dummy),
            recovered=similarity >= self.kind.about.threshold and q <= self.level,
            transform=self.found.name(sample, dummy),
        )

    def _rank(self, sample: int, dummy: int) -> int | None:
        if self.others is None:
            return None
        own = self.found.scores
        pool = np.concatenate([own[:, dummy], self.others[:, dummy]])
        return 1 + int((pool > own[sample, dummy]).sum())


def _check_shape(kind: Kind, role: str, data: TrainingSet, guesses: Tensor) -> None:
    if data.records.shape[1:] != guesses.shape[1:]:
        found, wanted = tuple(data.records.shape[1:]), tuple(guesses.shape[1:])
        raise DataError(f"The {role} {kind.about.words.many} have shape {found}, the reconstructions {wanted}.")


def check_held_out(kind: Kind, control: TrainingSet, truth: TrainingSet) -> None:
    """Raise :class:`DataError` if records are in both sets."""
    trained = set(prints(truth.records))
    shared = sum(digest in trained for digest in prints(control.records))
    if shared:
        many = kind.about.words.many
        raise DataError(
            f"{shared} of the {len(control.records)} control {many} are training {many}.",
            f"A control set must be held out: give {many} of the same kind that were not trained on.",
        )
