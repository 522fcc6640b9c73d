"""One sentence more: where those that were found do not explain what was read, one may hide behind another like it.

Two sentences that share most of their tokens look like one to what groups tokens. The new one begins as one of those
there are, with other tokens where these explain more of what is left: in one place, or in several at once.
"""

import torch
from torch import Tensor

from .whole import Whole

AT_ONCE = (1, 2, 4, 8, 16)
"""Places in which a new sentence differs from the one it began as."""


def one_more(whole: Whole, ids: Tensor, labels: Tensor) -> tuple[Tensor, int, float]:
    """Return the sentence (L,) that explains most beside others, its class, and how much less is left with it.

    Nothing less is left where none of those that are tried has room to differ.

    Args:
        whole: What was read.
        ids: (n, L) the sentences there are, without gaps.
        labels: (n,) their classes.
    """
    whole = whole.halfway  # as all changes are tried before the best are confirmed
    parts = whole.parts(ids, labels)
    added, _ = whole.explained(parts)
    rows, origin = _variants(whole, ids, labels, added)
    if not len(rows):
        return ids[0], int(labels[0]), 0.0
    pieces = zip(torch.split(rows, 32), torch.split(labels[origin], 32), strict=True)
    made = torch.cat([whole.parts(some, classes) for some, classes in pieces])
    beside = torch.cat([parts, torch.zeros_like(parts[:1])])  # an empty place, which each of them takes in turn
    lefts = whole.lefts(beside, made, [{}, *({len(ids): k} for k in range(len(made)))])
    best = int(lefts[1:].argmin())
    return rows[best], int(labels[origin[best]]), float(lefts[0] - lefts[1 + best])


def _variants(whole: Whole, ids: Tensor, labels: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """Return (b, L) sentences with tokens that promise most of what is left, and (b,) which each began as."""
    evidence = whole.middle
    left = (whole.target.flatten() - added.sum(0)).view_as(whole.target)[: len(evidence.tokens)]
    worth = evidence.given(ids, labels) @ left.T
    inner = (ids != evidence.pad) & (ids != evidence.last) & (torch.arange(ids.shape[1]) > 0)
    rows, origin = [], []
    for sign in (1, -1):  # of its weight, which is free
        promise = (sign * worth).masked_fill(~evidence.able(), -torch.inf).max(2)
        gains = promise.values - (sign * worth).gather(2, evidence.rows(ids)[..., None])[..., 0]
        gains = gains.masked_fill(~inner, 0)
        for number, row in enumerate(ids):
            places = gains[number].argsort(descending=True, stable=True)[: int((gains[number] > 0).sum())]
            for count in (count for count in AT_ONCE if count // 2 < len(places)):
                some = places[:count]
                rows.append(row.index_copy(0, some, evidence.tokens[promise.indices[number, some]]))
                origin.append(number)
    return torch.stack(rows) if rows else ids[:0], torch.tensor(origin, dtype=torch.long)
