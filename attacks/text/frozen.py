"""Tokens and places where the embeddings were not trained: by what the first layers saw, which never changed.

The change of a first layer is a sum over tokens of a signal times what the layer sees of the token, so that what it
sees lies in the row space (DAGER, Petrov et al., 2024, section 3); here for any number of steps of SGD. What it sees is
nearly a part of the token's plus one of the place's, so that least squares give a signal for each token and for each
place, as the tables of trained embeddings show them.
"""

import torch
from torch import Tensor

from ..contract.params import Params
from ..contract.victim import Victim
from .grouping import additive, entering, seen_of
from .medium import sentences_of
from .reading import Reading, alone
from .tables import Tables

OUTSIDE = 0.05
"""Share of what a layer sees of a token that lies outside of the row space, at most, for a token that training saw."""

NOISE = 4.0
"""Singular values above this multiple of the median of the smaller half are those of tokens."""


def read_frozen(victim: Victim, found: Tables, params: Params) -> Reading | None:
    """Return what the changes of the first layers show; ``None`` where these span everything or did not move.

    Args:
        victim: The network, trained by SGD.
        found: Its tables and first layers.
        params: Any of its parameters: those of the embeddings never changed.
    """
    names = [f"{path}.weight" for path in found.first]
    if not names or any(name not in victim.delta for name in names):
        return None
    changes = [victim.delta[name].double() for name in names]
    space = _row_space(torch.cat([change / change.norm().clamp_min(1e-300) for change in changes]))
    if space is None:
        return None
    apart = _apart(victim, found, params, space)
    tokens = (apart.amin(1) < OUTSIDE).nonzero().flatten()
    tokens = tokens[tokens != sentences_of(victim).pad]
    reached = (apart[tokens].amin(0) < OUTSIDE).nonzero().flatten() if len(tokens) else tokens
    if not len(reached):
        return None
    seen = seen_of(victim, params, found.first[0], tokens, int(reached[-1]) + 1)
    signals, rows = additive(torch.cat(changes), seen)
    return Reading(tokens, signals, alone(signals, rows, tokens, sentences_of(victim).first), rows)


def _row_space(change: Tensor) -> Tensor | None:
    """Return (r, d) an orthonormal basis of the rows of a change, ``None`` where they span more than half of all."""
    values, vectors = torch.linalg.svd(change, full_matrices=False)[1:]
    rank = int((values > NOISE * values[len(values) // 2 :].median()).sum())
    return vectors[:rank] if 0 < rank <= len(values) // 2 else None


def _apart(victim: Victim, found: Tables, params: Params, space: Tensor) -> Tensor:
    """Return (V, L) which share of what the first layers see of each token at each place lies outside of a space."""
    count, length = len(sentences_of(victim).table), victim.shape[0]
    apart = torch.ones(count, length, dtype=torch.float64)
    numbers = torch.arange(-(-count // length) * length).view(-1, length) % count
    basis = space.to(victim.like)
    for turn in range(length):
        ids = numbers.roll(turn, 1)
        seen = entering(victim, params, found.first[0], ids)
        share = 1 - (seen @ basis.T).square().sum(-1) / seen.square().sum(-1).clamp_min(1e-30)
        places = torch.arange(length).expand_as(ids)
        apart[ids, places] = share.double().cpu()
    return apart
