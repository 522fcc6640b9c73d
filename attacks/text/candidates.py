"""Changes of sentences that are worth trying, by what was read of their tokens: other tokens, ends, and all others."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .edits import Edit, Promises, content, sentence
from .evidence import Evidence
from .medium import sentences_of


def singles(evidence: Evidence, ids: Tensor, gains: Tensor, quotas: Sequence[int]) -> list[Edit]:
    """Return changes of single tokens, so many of each sentence, those of most gain (n, L, t)."""
    gains = gains.masked_fill(~_inner(evidence, ids)[..., None], -torch.inf)
    gains = gains.masked_fill(ids[..., None] == evidence.tokens, -torch.inf)
    found = []
    for row, quota in enumerate(quotas):
        best = gains[row].flatten().topk(min(quota, int((gains[row] > -torch.inf).sum()))).indices
        found += [(row, *divmod(flat, len(evidence.tokens))) for flat in best.tolist()]
    return [Edit(((row, place, int(evidence.tokens[token])),)) for row, place, token in found]


def ends(evidence: Evidence, ids: Tensor, gains: Tensor, count: int) -> list[Edit]:
    """Return sentences (n, L) with one token more at the end, so many of most gain (n, L, t), or with one less."""
    medium, found = sentences_of(evidence.probe.victim), []
    for row, some in enumerate(ids):
        tokens = content(medium, some)
        place = len(tokens) + (medium.first >= 0)
        more = evidence.tokens[gains[row, min(place, len(some) - 1)].topk(min(count, gains.shape[2])).indices]
        rows = [tokens[:-1]] * (len(tokens) > 1)
        rows += [[*tokens, token] for token in more.tolist() if place + (medium.last >= 0) < len(some)]
        found += [Edit(rows={row: sentence(medium, made)}) for made in rows]
    return found


def exchanged(evidence: Evidence, ids: Tensor) -> list[Edit]:
    """Return exchanges of two tokens of a sentence (n, L) that are next to each other among those not sure."""
    free = _inner(evidence, ids) & ~evidence.stands(ids)
    found = []
    for row, some in enumerate(ids.tolist()):
        places = free[row].nonzero().flatten().tolist()
        for i in range(len(places) - 1):
            a, b = places[i : i + 2]
            if some[a] != some[b]:
                found.append(Edit(((row, a, some[b]), (row, b, some[a]))))
    return found


def others(evidence: Evidence, ids: Tensor, gains: Tensor, few: int) -> list[Edit]:
    """Return other changes of sentences (n, L) that promise most; tokens are counted by their rows on the way."""
    count = len(evidence.tokens)
    medium = sentences_of(evidence.probe.victim)
    first, last = (_row(evidence, token) for token in (medium.first, medium.last))
    small = replace(medium, pad=count, first=first, last=last)
    rows = torch.where(ids == medium.pad, count, evidence.rows(ids))
    gains = torch.cat([gains, torch.full_like(gains[..., :1], -torch.inf)], 2)
    gains[..., [row for row in (first, last) if row >= 0]] = -torch.inf
    back = torch.cat([evidence.tokens, torch.tensor([medium.pad])])
    return [
        Edit(tuple((row, place, int(back[token])) for row, place, token in edit.puts),
             {row: back[made] for row, made in edit.rows.items()})
        for edit in Promises(small, rows, gains).all(few, 0)
    ]  # fmt: skip


def unused(evidence: Evidence, ids: Tensor, able: Tensor) -> list[Edit]:
    """Return changes that put tokens which stand in none of the sentences (n, L) where they are able to, (n, L, t)."""
    missing = ~torch.isin(evidence.tokens, ids)
    where = (able & missing & _inner(evidence, ids)[..., None]).nonzero().tolist()
    return [Edit(((row, place, int(evidence.tokens[token])),)) for row, place, token in where]


def _inner(evidence: Evidence, ids: Tensor) -> Tensor:
    """Return (n, L) where tokens stand that neither begin nor end sentences."""
    return (ids != evidence.pad) & (ids != evidence.last) & (ids != sentences_of(evidence.probe.victim).first)


def _row(evidence: Evidence, token: int) -> int:
    """Return the row of a token among those that training saw; -1 for none."""
    row = int(evidence.rows(torch.tensor(token))) if token >= 0 else -1
    return row if row >= 0 and int(evidence.tokens[row]) == token else -1
