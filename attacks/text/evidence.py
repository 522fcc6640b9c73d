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

MOST, FEWEST = 200, 4
"""Tokens, at most, that are tried at all places of a sentence together, and those at each place at least."""

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

    def given(self, ids: Tensor, labels: Tensor, gaps: Tensor | None = None) -> Tensor:
        """Return (b, L, F) what sentences of classes (b,) would add to what is read, but for their strengths.

        At ``gaps`` (b, L) the mean of all tokens stands in place of theirs.
        """
        found = -self.probe.signals(ids, labels, gaps).to(self.signals)
        return (found / found.abs().mean((1, 2), keepdim=True).clamp_min(1e-30)).tanh() if self.signed else found

    def _cosine(self, ids: Tensor, wanted: Tensor, counted: Tensor, label: int) -> Tensor:
        given = self.given(ids, torch.full((len(ids),), label)) * counted[..., None]
        scale = torch.linalg.vector_norm(given.flatten(1), dim=1) * torch.linalg.vector_norm(wanted.flatten(1), dim=1)
        cosine: Tensor = (given * wanted).sum((1, 2)) / scale.clamp_min(1e-30)
        return cosine

    def started(self, group: Sequence[int], length: int) -> Tensor:
        """Return (L,) a sentence of some tokens, by their rows: each that stands at one place there, and its end."""
        medium = sentences_of(self.probe.victim)
        ids = torch.full((self.probe.victim.shape[0],), self.pad)
        if medium.first >= 0:
            ids[0] = medium.first
        sure = [row for row in group if int(self.places[row]) >= 0]
        ids[self.places[sure]] = self.tokens[sure]
        end = max(length - 1, extent(ids, self.pad) + 1)
        if medium.last >= 0 and end < len(ids):
            ids[end] = medium.last
        return ids

    @property
    def inner(self) -> Tensor:
        """(t,) which tokens neither begin nor end sentences."""
        return (self.tokens != sentences_of(self.probe.victim).first) & (self.tokens != self.last)

    def able(self) -> Tensor:
        """Return (L, t) which tokens may stand where, if all that is taken to stand at one place does."""
        places = torch.arange(self.probe.victim.shape[0])[:, None]
        return self.inner & ((self.places < 0) | (self.places == places))

    def options(self, ids: Tensor, places: Sequence[int], able: Tensor) -> tuple[Tensor, Tensor]:
        """Return sentences (b, L) that differ from one at one of some places, and (b,) that place.

        Those are tried whose own signals are most like what comes back to the place while the mean of all stands there.

        Args:
            ids: (L,) the sentence.
            places: Where to change it.
            able: (L, t) which tokens may stand where.
        """
        gaps = torch.zeros(1, len(ids), dtype=torch.bool)
        gaps[0, list(places)] = True
        some = torch.where(gaps, self.tokens[0], ids)
        promise = self.given(some, self.fit(ids[None]).labels, gaps)[0] @ self.signals.T
        promise = promise.masked_fill(~able, -torch.inf)
        found, where = [], []
        for place in places:
            count = min(max(MOST // len(places), FEWEST), int(able[place].sum()))
            for token in self.tokens[promise[place].topk(count).indices].tolist():
                found.append(with_token(ids, place, token))
                where.append(place)
        return torch.stack(found) if found else ids.new_empty(0, len(ids)), torch.tensor(where, dtype=torch.long)


def extent(ids: Tensor, pad: int) -> int:
    """Return the last place of a sentence (L,) that holds a token."""
    return int((ids != pad).nonzero().max())


def with_token(ids: Tensor, place: int, token: int) -> Tensor:
    """Return a sentence (L,) with a token at a place."""
    made = ids.clone()
    made[place] = token
    return made


def open_places(evidence: Evidence, ids: Tensor) -> list[int]:
    """Return the places of a sentence (L,) that hold nothing, up to its end or a little beyond."""
    used = extent(ids, evidence.pad)
    reach = used if bool((ids == evidence.last).any()) else min(used + BEYOND, len(ids) - 1)
    return [place for place in range(1, reach + 1) if int(ids[place]) == evidence.pad]
