"""Several places of a sentence filled anew at once, each by what comes back to it while none of them holds a token.

A wrong token disturbs what comes back to all others, so that one change after the other ends where several would have
to be made at once. With the mean of all tokens at these places, less is disturbed.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .edits import Edit
from .whole import Whole

WINDOW = 4
"""Neighbouring places, of those whose tokens are not sure, that are filled anew together; also all, and every other."""


def refilled(whole: Whole, ids: Tensor, labels: Tensor, besides: Tensor, able: Tensor) -> list[Edit]:
    """Return changes of sentences (n, L), each at several places whose tokens are not sure.

    Args:
        whole: What was read.
        ids: The sentences.
        labels: (n,) their classes.
        besides: (n, (t + L') F) what is left for each of them to explain.
        able: (n, L, t) which tokens may stand where.
    """
    evidence = whole.middle
    inner = (ids != evidence.pad) & (ids != evidence.last) & (torch.arange(ids.shape[1]) > 0)
    free = inner & ~evidence.stands(ids)
    cases = [(row, some) for row in range(len(ids)) for some in _sets(free[row].nonzero().flatten())]
    found = []
    for start in range(0, len(cases), 32):
        part = cases[start : start + 32]
        rows = torch.tensor([row for row, _ in part])
        gaps = torch.zeros_like(ids[rows], dtype=torch.bool)
        for number, (_, some) in enumerate(part):
            gaps[number, some] = True
        made = torch.where(gaps, evidence.tokens[able[rows].int().argmax(2)], ids[rows])
        gains = whole.promises(made, labels[rows], besides[rows], gaps).masked_fill(~able[rows], -torch.inf)
        for number, (row, some) in enumerate(part):
            found += [Edit(rows={row: new}) for new in _filled(evidence.tokens, ids[row], some, gains[number, some])]
    return found


def _sets(places: Tensor) -> list[Tensor]:
    """Return sets of two or more of some places (m,): neighbours, every other one, and all."""
    windows = [places[start : start + WINDOW] for start in range(0, len(places) - 1, WINDOW // 2)]
    return [some for some in (*windows, places[::2], places[1::2], places) if len(some) > 1]


def _filled(tokens: Tensor, row: Tensor, places: Tensor, gains: Tensor) -> list[Tensor]:
    """Return a sentence (L,) with the tokens of most gain (m, t) at some places (m,), and with different ones."""
    best = [gains.argmax(1)]
    if len(set(best[0].tolist())) < len(places):
        least = gains[gains > -torch.inf].min() - gains.abs().nan_to_num(posinf=0).max()
        _, columns = linear_sum_assignment(gains.clamp_min(least).numpy(), maximize=True)
        best.append(torch.from_numpy(columns))
    made = [row.index_copy(0, places, tokens[choice]) for choice in best]
    return [new for new in made if not torch.equal(new, row)]
