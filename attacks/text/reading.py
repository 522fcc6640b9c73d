"""Which tokens training saw, and where they stood: read off the tables of words and places, without any simulation.

``e = word[t] + place[p]`` of a token t at place p: both rows get the same signal, in every step of any training. So the
rows of the table of words that moved are the tokens that training saw, and under SGD, where changes are sums of
signals, least squares of the places' changes on the words' changes tells where a token stood that occurs once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..contract.victim import Victim
from .tables import Tables, moved, undecayed

PLACED = 0.7
"""Share of a word's change, at least, that is found at one place if it stood there alone."""

ASTRAY = 0.35
"""And what is found elsewhere, at most, weighed by the size of the word's change over the median."""


@dataclass(frozen=True)
class Reading:
    """What the tables of words and places show.

    Attributes:
        tokens: (t,) numbers of the tokens that training saw, ascending; the padding is left out.
        signals: (t, D) float64 change of each, without decay.
        places: (t,) place of a token that stands at one place only, -1 where that does not show.
        length: Places that training reached, counted from the first.
    """

    tokens: Tensor
    signals: Tensor
    places: Tensor
    length: int


def read(victim: Victim, found: Tables) -> Reading | None:
    """Return what the tables show; ``None`` where the words' was not trained."""
    name = f"{found.word}.weight"
    if name not in victim.theta0:
        return None
    before, after = victim.theta0[name], victim.thetaf[name]
    seen = moved(before, after)
    seen[victim.medium.pad] = False
    tokens = seen.nonzero().flatten()
    signals = undecayed(before, after)[tokens].double()
    rows = placed(victim, found)
    length = victim.shape[0] if rows is None else len(rows)
    places = torch.full((len(tokens),), -1)
    if rows is not None and len(tokens):
        places = _places(signals, rows.double(), tokens.tolist(), victim.medium.first)
    return Reading(tokens, signals, places, length)


def placed(victim: Victim, found: Tables) -> Tensor | None:
    """Return the changes (L, D) of the places that training reached; ``None`` where there are none."""
    name = f"{found.place}.weight"
    if not found.place or name not in victim.theta0:
        return None
    before, after = victim.theta0[name], victim.thetaf[name]
    reached = moved(before, after)[found.offset :].nonzero().flatten()
    if not len(reached):
        return None
    return undecayed(before, after)[found.offset :][: int(reached[-1]) + 1]


def _places(signals: Tensor, rows: Tensor, tokens: list[int], first: int) -> Tensor:
    """Return (t,) the place of each token that stood at one place, -1 of the others and of those that begin sentences.

    Args:
        signals: (t, D) changes of the words.
        rows: (L, D) changes of the places.
        tokens: Their numbers.
        first: The token that begins sentences.
    """
    shares = torch.linalg.lstsq(signals.T, rows.T, driver="gelsd").solution
    best = shares.max(1)
    rest = shares.scatter(1, best.indices[:, None], (best.values - 1)[:, None])
    sizes = torch.linalg.vector_norm(signals, dim=1)
    astray = torch.linalg.vector_norm(rest, dim=1) * sizes / sizes.median()
    alone = (best.values > PLACED) & (astray < ASTRAY) & (best.indices > 0)
    alone &= torch.tensor([token != first for token in tokens])
    return torch.where(alone, best.indices, -1)
