"""Which tokens training saw, and where they stood: read off the tables of words and places, without any simulation.

``e = word[t] + place[p]`` of a token t at place p: both rows get the same signal, in every step of any training. So the
rows of the table of words that moved are the tokens that training saw, and under SGD, where changes are sums of
signals, least squares of the places' changes on the words' changes tells where a token stood that occurs once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..contract.victim import Victim
from .medium import sentences_of
from .tables import Tables, moved, undecayed

PLACED = 0.7
"""Share of a word's change, at least, that is found at one place if it stood there alone."""

WHOLE = 0.2
"""Distance of weights from 0 and 1, at most, for each place to hold one token."""

ALIKE, CLEAR = 0.6, 0.15
"""Cosine of the ways of a token and of its place under Adam, at least, and by how much the next place's is lower."""

ASTRAY = 0.35
"""And what is found elsewhere, at most, weighed by the size of the word's change over the median."""


@dataclass(frozen=True)
class Reading:
    """What the tables of words and places show.

    Attributes:
        tokens: (t,) numbers of the tokens that training saw, ascending; the padding is left out.
        signals: (t, D) float64 change of each, without decay.
        places: (t,) place of a token that stands at one place only, -1 where that does not show.
        rows: (L', D) the same of the places that training reached, from the first; none where that does not show.
    """

    tokens: Tensor
    signals: Tensor
    places: Tensor
    rows: Tensor


def read(victim: Victim, found: Tables, signed: bool = False) -> Reading | None:
    """Return what the tables show; ``None`` where the words' was not trained.

    Args:
        victim: The network.
        found: Its tables.
        signed: Signals are no sums: Adam moved them by nearly their signs.
    """
    name = f"{found.word}.weight"
    if name not in victim.theta0:
        return None
    before, after = victim.theta0[name], victim.thetaf[name]
    seen = moved(before, after)
    seen[sentences_of(victim).pad] = False
    tokens = seen.nonzero().flatten()
    signals = undecayed(before, after)[tokens].double()
    rows = placed(victim, found)
    rows = signals[:0] if rows is None else rows.double()
    places = alike(signals, rows) if signed else alone(signals, rows, tokens, sentences_of(victim).first)
    return Reading(tokens, signals, torch.where(tokens == sentences_of(victim).first, -1, places), rows)


def only_sentence(signals: Tensor, rows: Tensor) -> Tensor | None:
    """Return (L,) which token stands at each place, if training saw one sentence alone; ``None`` if it saw more.

    Then each place's row holds one signal, and each word's the sum of those of its places: least squares the other way
    round give weights that are all 0 or 1. Of more sentences they are not.

    Args:
        signals: (t, D) changes of the words.
        rows: (L, D) changes of the places.
    """
    if not len(rows) or not len(signals):
        return None
    weights: Tensor = torch.linalg.lstsq(rows.T, signals.T, driver="gelsd").solution
    if float((weights - weights.round()).abs().max()) > WHOLE or bool((weights.round().sum(1) != 1).any()):
        return None
    return weights.argmax(1)


def alike(signals: Tensor, rows: Tensor) -> Tensor:
    """Return (t,) the place whose row took nearly the same way as a token's, -1 where none did.

    Under Adam a token and a place that only met each other take identical updates.
    """
    if not len(rows) or not len(signals):
        return torch.full((len(signals),), -1)
    best = (normalize(signals, dim=1) @ normalize(rows, dim=1).T).topk(min(2, len(rows)), 1)
    clear = (best.values[:, 0] > ALIKE) & (best.values[:, 0] - best.values[:, -1] > CLEAR * (len(rows) > 1))
    return torch.where(clear & (best.indices[:, 0] > 0), best.indices[:, 0], -1)


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


def alone(signals: Tensor, rows: Tensor, tokens: Tensor, first: int) -> Tensor:
    """Return (t,) the place of each token that stood at one place, -1 of the others and of those that begin sentences.

    Args:
        signals: (t, D) changes of the words.
        rows: (L, D) changes of the places.
        tokens: (t,) their numbers.
        first: The token that begins sentences.
    """
    if not len(rows) or not len(tokens):
        return torch.full((len(tokens),), -1)
    shares = torch.linalg.lstsq(signals.T, rows.T, driver="gelsd").solution
    best = shares.max(1)
    rest = shares.scatter(1, best.indices[:, None], (best.values - 1)[:, None])
    sizes = torch.linalg.vector_norm(signals, dim=1)
    astray = torch.linalg.vector_norm(rest, dim=1) * sizes / sizes.median()
    sure = (best.values > PLACED) & (astray < ASTRAY) & (best.indices > 0) & (tokens != first)
    return torch.where(sure, best.indices, -1)
