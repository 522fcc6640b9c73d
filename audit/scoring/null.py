"""What records are compared with that were not trained on, or cannot be what is shown."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .compare import Pool, compare
from .kind import Kind, Told, unheard
from .pairing import Method, Scores, assign

NONE: Scores = np.empty(0)


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


def matched_null(scores: Scores, similarity: Scores, size: int, method: Method) -> Scores:
    """Return the similarity of the same reconstructions to records that were not trained on, paired in the same way.

    The control set is cut into disjoint folds, each of the size of the training set, because the best of many
    candidates is better than the best of few. The rest that fills no fold is dropped. A control set smaller than one
    fold is used whole, which underestimates chance.

    Args:
        scores: (c, n) what held-out records and reconstructions are paired by.
        similarity: (c, n) theirs.
        size: Records per fold, at least 1: the number of training records.
        method: See :func:`.pairing.assign`.

    Returns:
        (folds * min(size, n),) similarity of the pairs of all folds.
    """
    folds = max(len(scores) // size, 1)
    parts = (np.array_split(values[: folds * size], folds) for values in (scores, similarity))
    matched = (alike[pair] for fold, alike in zip(*parts, strict=True) for pair in assign(fold, method))
    return np.fromiter(matched, dtype=np.float64)


def mismatched(kind: Kind, pairs: list[tuple[int, int]], guesses: Tensor, truth: Pool, told: Told = unheard) -> Scores:
    """Return the highest similarity of each training record to reconstructions that cannot be of it.

    Those are the reconstructions that were paired with other records, or with none, and, as the best one is missing
    there, versions of all reconstructions that cannot be of any (:meth:`.kind.Kind.mismatches`; of images, turned and
    mirrored ones). Weaker than held-out records: it takes for granted that such versions are as likely; records that
    such a version leaves as they are, and copies in the training set, make it strict. A single record with a single
    reconstruction has nothing to be compared with but its own versions, which is not a comparison: then it is empty.

    A record is tried in other ways here as well, and chooses among these without its own reconstruction; but never
    mirrored or turned, by which it would find itself again in such a version.

    Args:
        kind: What the records are.
        pairs: Which training record belongs to which reconstruction.
        guesses: (n, ...) reconstructions.
        truth: m training records.
        told: Hears of pairs while they are scored.
    """
    own = dict(pairs)
    count = len(truth.records)
    if not any(len(guesses) > (row in own) for row in range(count)):
        return NONE
    without = torch.tensor([own.get(row, -1) for row in range(count)], device=truth.records.device)
    apart = compare(kind, truth, guesses, False, told, without).scores
    rows = [np.delete(row, own[i]) if i in own else row for i, row in enumerate(apart)]
    values = [np.array([row.max() for row in rows if len(row)])]
    values += [compare(kind, truth, version, False, told).scores.max(1) for version in kind.mismatches(guesses)]
    return np.concatenate(values)
