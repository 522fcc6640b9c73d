"""The first stage: gaps between the tokens of a sentence that are sure are filled, one sentence at a time."""

import torch
from torch import Tensor

from .evidence import BETTER, Evidence, open_places, with_token
from .promises import promised

WHOLE = 3
"""Tokens that stand at one place, from which a group of them is a sentence of its own and no other takes from it."""


def closed(evidence: Evidence, ids: Tensor, row: int) -> Tensor:
    """Return (t,) which tokens belong to sentences (n, L) other than one of them, and are not open to it."""
    stands = evidence.stands(ids)
    others = (stands.sum(1) >= WHOLE) & (torch.arange(len(ids)) != row)
    taken = evidence.rows(ids[others][stands[others]])
    found = torch.zeros(len(evidence.tokens), dtype=torch.bool)
    found[taken] = True
    return found


def filled(evidence: Evidence, ids: Tensor, taken: Tensor) -> Tensor:
    """Return a sentence (L,) with those tokens in its open places that make it explain its other tokens better.

    Every place is tried with the tokens that promise most. The best of all places are taken together where that is
    better than the best alone.

    Args:
        evidence: Tokens, and what was read of them.
        ids: (L,) the sentence.
        taken: (t,) tokens that belong to others.
    """
    gaps = open_places(evidence, ids)
    if not gaps:
        return ids
    wanted = evidence.wanted(ids[None])[0]
    promise = promised(evidence, ids, int(evidence.fit(ids[None]).labels), gaps, wanted)
    able = evidence.able() & ~taken
    rows, places = evidence.options(ids, gaps, torch.where(able, promise, -torch.inf))
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
        place = int(places[row])
        if not bool((joint[:place] == evidence.last).any()):
            joint = with_token(evidence, joint, place, int(rows[row, place]))
    pair = torch.stack([alone, joint])
    return pair[int(evidence.fit(pair).cosine.argmax())]
