"""The rows of words and places that training moved, and what each of some sentences would add to their gradient."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..contract.params import Params
from ..contract.victim import Victim
from .medium import Tokens, sentences_of
from .probe import Probe
from .tables import Tables

BATCH = 16
"""Sentences that are computed at once: those of nearly one length."""


@dataclass(frozen=True)
class Narrow:
    """A network whose table of words has no rows but those that training saw: the others have no gradient.

    Attributes:
        victim: The network; tokens have new numbers, which its medium knows.
        kept: (V',) the old number of each, ascending.
    """

    victim: Victim
    kept: Tensor

    def numbers(self, ids: Tensor) -> Tensor:
        """Return the new numbers of tokens (...)."""
        return torch.searchsorted(self.kept, ids.contiguous()).clamp(max=len(self.kept) - 1)


def narrowed(victim: Victim, found: Tables, tokens: Tensor) -> Narrow:
    """Return a network of the tokens (t,) that training saw, and of those that begin and end sentences."""
    medium, name = sentences_of(victim), f"{found.word}.weight"
    special = torch.tensor([token for token in (medium.first, medium.last) if token >= 0], dtype=torch.long)
    kept = torch.unique(torch.cat([torch.arange(medium.pad + 1), special, tokens]))  # the padding keeps its number

    def cut(params: Params) -> dict[str, Tensor]:
        return {key: value[kept] if key == name else value for key, value in params.items()}

    first, last = (int(torch.searchsorted(kept, token)) if token >= 0 else -1 for token in (medium.first, medium.last))
    small = replace(medium, table=medium.table[kept], first=first, last=last)
    theta0, thetaf, buffers = (cut(params) for params in (victim.theta0, victim.thetaf, victim.buffers))
    return Narrow(replace(victim, theta0=theta0, thetaf=thetaf, buffers=buffers, medium=small), kept)


@dataclass(frozen=True)
class Watch:
    """What is watched: F = (V + L) D numbers, the rows of all words and of all places that were trained.

    Attributes:
        victim: The network, its table of words no longer than need be.
        found: Its tables.
    """

    victim: Victim
    found: Tables

    @property
    def medium(self) -> Tokens:
        """The kind of its sentences."""
        return sentences_of(self.victim)

    @property
    def placed(self) -> bool:
        """Whether places are watched."""
        return f"{self.found.place}.weight" in self.victim.delta

    def of(self, params: Params) -> Tensor:
        """Return (F,) what is watched of parameters, or of their change."""
        parts = [params[f"{self.found.word}.weight"]]
        if self.placed:
            start = self.found.offset
            parts.append(params[f"{self.found.place}.weight"][start : start + self.victim.shape[0]])
        return torch.cat(parts).flatten()

    def words(self, watched: Tensor) -> Tensor:
        """Return (..., V, D) what is watched of the words."""
        table = self.medium.table
        return watched[..., : table.numel()].reshape(*watched.shape[:-1], *table.shape)

    def signals(self, params: Params, ids: Tensor, labels: Tensor) -> Tensor:
        """Return (b, L, D) derivatives of the losses of sentences (b, L) of classes (b,) by their embeddings."""
        probe = Probe(self.victim, params, self.found.word, (self.found.word,))
        order = (ids != self.medium.pad).sum(1).argsort()
        parts = [probe.signals(ids[some], labels[some]) for some in torch.split(order, BATCH)]
        return torch.cat(parts)[order.argsort()]

    def gradients(self, signals: Tensor, ids: Tensor) -> Tensor:
        """Return (b, F) the gradients of what is watched, of signals (b, L, D) of sentences (b, L)."""
        where = ids.to(signals.device)[..., None].expand_as(signals)
        words = signals.new_zeros(len(ids), len(self.medium.table), signals.shape[2]).scatter_add(1, where, signals)
        found = torch.cat([words, signals], 1) if self.placed else words
        return found.flatten(1)


def used(ids: Tensor, padding: int) -> int:
    """Return how many places, from the first, any of some sentences (b, L) uses; at least one."""
    places = (ids != padding).any(0).nonzero()
    return int(places.max()) + 1 if len(places) else 1
