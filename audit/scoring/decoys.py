"""The floor under every similarity: what records score that no attack made."""

import numpy as np
import torch
from torch import Tensor

from ..report.results import Decoy
from .kind import Kind
from .pairing import assign


def decoys(kind: Kind, truth: Tensor, count: int, rng: torch.Generator) -> list[Decoy]:
    """Match as many decoys of each sort as there are reconstructions with the training records, one to one.

    Args:
        kind: What the records are.
        truth: (m, ...) training records.
        count: Number of reconstructions.
        rng: Draws what is random in them.
    """
    return [_score(kind, name, truth, made, count) for name, made in kind.decoys(truth, count, rng).items()]


def _score(kind: Kind, name: str, truth: Tensor, made: Tensor, count: int) -> Decoy:
    """Describe ``count`` decoys; a single record stands for as many of its sort."""
    scores = kind.matrix(truth, made).expand(-1, count).numpy()
    best = np.array([scores[pair] for pair in assign(scores, "hungarian")])
    return Decoy(name=name, similarity_mean=float(best.mean()), similarity_max=float(best.max()))
