"""The first stage: gaps between the tokens of a sentence that are sure are filled, one sentence at a time."""

import torch
from torch import Tensor

from .evidence import BETTER, Evidence, open_places, with_token

WHOLE = 3
"""Tokens that stand at one place, from which a sentence is none that might be left out at once."""


def filled(evidence: Evidence, ids: Tensor, members: Tensor) -> Tensor:
    """Return a sentence (L,) with those tokens in its open places that make it explain its other tokens better.

    Every place is tried with the tokens that promise most. The best of all places are taken together where that is
    better than the best alone.

    Args:
        evidence: Tokens, and what was read of them.
        ids: (L,) the sentence.
        members: (t,) tokens that stood in it.
    """
    gaps = open_places(evidence, ids)
    if not gaps:
        return ids
    rows, places = evidence.options(ids, gaps, evidence.able() & members)
    if not len(rows):
        return ids
    found = evidence.fit(torch.cat([ids[None], rows]), torch.cat([places.new_zeros(1), places])).cosine
    gains = found[1:] - found[0]
    best = []
    for place in torch.unique(places).tolist():
        own = torch.where(places == place, gains, -1.0)
        best.append((float(own.max()), int(own.argmax())))
    best = sorted((pair for pair in best if pair[0] > BETTER), reverse=True)
    if not best:
        return ids
    alone = joint = rows[best[0][1]]
    for _, row in best[1:]:
        joint = with_token(joint, int(places[row]), int(rows[row, places[row]]))
    pair = torch.stack([alone, joint])
    return pair[int(evidence.fit(pair).cosine.argmax())]
