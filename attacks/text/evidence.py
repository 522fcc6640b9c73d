"""What a candidate sentence would do to the network, held against what was read of its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from .medium import sentences_of
from .probe import Probe

BEYOND = 3
"""Places behind the last token of a sentence that are tried while its end is not known."""

TRIED = 12
"""Tokens that are tried at a place."""

BETTER = 1e-3
"""A change of a sentence counts where the cosine rises by more than this."""


class Fit(NamedTuple):
    """How well sentences explain the signals of their tokens, whatever their strength.

    Attributes:
        cosine: (b,) of the signals predicted and read, over tokens that count; not negative.
        power: (b,) how much of the signals read that explains.
        labels: (b,) the class under which it does.
    """

    cosine: Tensor
    power: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Evidence:
    """What was read of tokens, and what may stand where.

    Attributes:
        probe: Predicts signals.
        tokens: (t,) numbers of the tokens that training saw, ascending.
        signals: (t, F) float64 what was read of them; of a token at several places the sum.
        places: (t,) the one place of each, -1 where it may stand anywhere.
        signed: Little but the signs of signals shows, as Adam leaves them: small ones count less.
    """

    probe: Probe
    tokens: Tensor
    signals: Tensor
    places: Tensor
    signed: bool = False

    @property
    def pad(self) -> int:
        """The padding."""
        return int(sentences_of(self.probe.victim).pad)

    @property
    def last(self) -> int:
        """The token that ends sentences; -1 for none."""
        return int(sentences_of(self.probe.victim).last)

    @cached_property
    def _known(self) -> Tensor:
        """(V,) the one place of every token, -1 of others."""
        table = torch.full((int(self.tokens.max()) + 2,), -1)
        table[self.tokens] = self.places
        return table

    def rows(self, ids: Tensor) -> Tensor:
        """Return for tokens (...) their rows among those that training saw; any row for the padding."""
        return torch.searchsorted(self.tokens, ids).clamp(max=len(self.tokens) - 1)

    def fit(self, ids: Tensor, without: Tensor | None = None) -> Fit:
        """Hold sentences (b, L) against what was read.

        Args:
            ids: Tokens; the padding where there is none.
            without: (b,) a place of each that does not count.
        """
        wanted = self.wanted(ids)
        if without is not None:
            wanted.scatter_(1, without[:, None, None].expand(-1, 1, wanted.shape[2]), 0)
        counted = (wanted != 0).any(-1)
        classes = self.probe.victim.categories
        labels = range(1 if classes == 2 else classes)
        cosines = torch.stack([self._cosine(ids, wanted, counted, label) for label in labels])
        if classes == 2:  # the other label turns the sign
            cosines = torch.cat([cosines, -cosines])
        best = cosines.max(0)
        cosine = best.values.clamp(min=0)
        return Fit(cosine, cosine.square() * wanted.square().sum((1, 2)), best.indices)

    def wanted(self, ids: Tensor) -> Tensor:
        """Return (b, L, F) what was read of those tokens of sentences that stand where they alone can; 0 elsewhere."""
        return self.signals[self.rows(ids)] * self.stands(ids)[..., None]

    def stands(self, ids: Tensor) -> Tensor:
        """Return (b, L) which tokens of sentences stand where they alone can."""
        return self._known[ids.clamp(max=len(self._known) - 1)] == torch.arange(ids.shape[1])

    def given(self, ids: Tensor, labels: Tensor) -> Tensor:
        """Return (b, L, F) what sentences of classes (b,) would add to what is read, but for their strengths."""
        found = -self.probe.signals(ids, labels).to(self.signals)
        return (found / found.abs().mean((1, 2), keepdim=True).clamp_min(1e-30)).tanh() if self.signed else found

    def _cosine(self, ids: Tensor, wanted: Tensor, counted: Tensor, label: int) -> Tensor:
        given = self.given(ids, torch.full((len(ids),), label)) * counted[..., None]
        scale = torch.linalg.vector_norm(given.flatten(1), dim=1) * torch.linalg.vector_norm(wanted.flatten(1), dim=1)
        cosine: Tensor = (given * wanted).sum((1, 2)) / scale.clamp_min(1e-30)
        return cosine

    def started(self, group: Sequence[int]) -> Tensor:
        """Return (L,) a sentence of some tokens, by their rows, each at its place."""
        medium = sentences_of(self.probe.victim)
        ids = torch.full((self.probe.victim.shape[0],), self.pad)
        if medium.first >= 0:
            ids[0] = medium.first
        ids[self.places[list(group)]] = self.tokens[list(group)]
        return ids

    def able(self) -> Tensor:
        """Return (L, t) which tokens may stand where, if all that is taken to stand at one place does."""
        places = torch.arange(self.probe.victim.shape[0])[:, None]
        return (self.places < 0) | (self.places == places)

    def options(self, ids: Tensor, places: Sequence[int], promise: Tensor, tried: int = TRIED) -> tuple[Tensor, Tensor]:
        """Return sentences (b, L) that differ from one at one of some places, and (b,) that place.

        Where the last token is replaced, it moves one place on.

        Args:
            ids: (L,) the sentence.
            places: Where to change it.
            promise: (L, t) which tokens are worth trying: the best few of each place, and the end; those at minus
                infinity are not.
            tried: How many of a place.
        """
        used, ended = extent(ids, self.pad), bool((ids == self.last).any())
        found, where = [], []
        for place in places:
            closing = ended and place == used
            count = int((promise[place] > -torch.inf).sum())
            likely = promise[place].topk(count if closing else min(tried, count)).indices
            ends = [self.last] * (self.last >= 0)
            for token in dict.fromkeys([*self.tokens[likely].tolist(), *ends]):
                if token == int(ids[place]) or token == sentences_of(self.probe.victim).first:
                    continue
                made = with_token(self, ids, place, token)
                if closing and place + 1 < len(ids):
                    made = with_token(self, made, place + 1, self.last)
                found.append(made)
                where.append(place)
        return torch.stack(found) if found else ids.new_empty(0, len(ids)), torch.tensor(where, dtype=torch.long)


def extent(ids: Tensor, pad: int) -> int:
    """Return the last place of a sentence (L,) that holds a token."""
    return int((ids != pad).nonzero().max())


def with_token(evidence: Evidence, ids: Tensor, place: int, token: int) -> Tensor:
    """Return a sentence (L,) with a token at a place; behind the last token nothing is left."""
    made = ids.clone()
    made[place] = token
    if token == evidence.last:
        made[place + 1 :] = evidence.pad
    return made


def open_places(evidence: Evidence, ids: Tensor) -> list[int]:
    """Return the places of a sentence (L,) that hold nothing, up to its end or a little beyond."""
    used = extent(ids, evidence.pad)
    reach = used if bool((ids == evidence.last).any()) else min(used + BEYOND, len(ids) - 1)
    return [place for place in range(1, reach + 1) if int(ids[place]) == evidence.pad]
