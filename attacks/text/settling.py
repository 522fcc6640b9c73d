"""All sentences together, held against all that the tables of words and places show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .evidence import TRIED, Evidence, extent, with_token
from .promises import promised

NODES = (0.25, 0.75)
"""Shares of the way from before training to after it at which signals are taken, their weights free."""

CONFIRMED = 8
"""So many changes of a sentence are tried at all nodes."""

MOST, FEWEST = 480, 6
"""Tokens, at most, that are tried at all places of a long sentence together, and those at each place at least."""

EXCHANGED = 12
"""Free places, at most, of which any two exchange their tokens; of more only neighbours do."""

_RIDGE = 1e-9


@dataclass(frozen=True)
class Whole:
    """What the tables show.

    Attributes:
        nodes: Tokens and what may stand where, at several points of the training.
        middle: The same half-way through it: there all changes are tried before the best are confirmed.
        places: (L', F) what was read of the places, L' at most L; of no rows where that does not show.
    """

    nodes: tuple[Evidence, ...]
    middle: Evidence
    places: Tensor

    @property
    def target(self) -> Tensor:
        """(t + L', F) what was read of tokens and places."""
        return torch.cat([self.middle.signals, self.places])

    def parts(self, ids: Tensor, labels: Tensor) -> Tensor:
        """Return (b, K, (t + L') F) what sentences would add to what was read, at each of K nodes."""
        return torch.stack([self._summed(ids, node.given(ids, labels)).flatten(1) for node in self.nodes], 1)

    def _summed(self, ids: Tensor, given: Tensor) -> Tensor:
        rows = self.middle.rows(ids)[..., None].expand_as(given)
        words = given.new_zeros(len(ids), len(self.middle.tokens), given.shape[2]).scatter_add(1, rows, given)
        return torch.cat([words, given[:, : len(self.places)]], 1)

    def explained(self, ids: Tensor, labels: Tensor) -> tuple[Tensor, float]:
        """Return (n, (t + L') F) what each sentence adds where all explain what was read best, and the share left."""
        parts, target = self.parts(ids, labels), self.target.flatten()
        columns = parts.flatten(0, 1)
        gram = columns @ columns.T
        gram.diagonal().add_(_RIDGE * gram.diagonal().mean())
        weights = torch.linalg.solve(gram, columns @ target).view(len(ids), -1, 1)
        added = (weights * parts).sum(1)
        left = (target - added.sum(0)).square().sum() / target.square().sum().clamp_min(1e-30)
        return added, float(left)

    def gains(self, rest: Tensor, rows: Tensor, label: int) -> Tensor:
        """Return (b,) how much of what is left to explain each of some sentences (b, L) of one class explains."""
        found = []
        for some in torch.split(rows, 32):
            parts = self.parts(some, torch.full((len(some),), label))
            gram = parts @ parts.transpose(1, 2)
            inner = parts @ rest
            size = gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)
            gram = gram + _RIDGE * size[:, None, None] * torch.eye(gram.shape[1]).to(gram)
            found.append((inner * torch.linalg.solve(gram, inner)).sum(1))
        return torch.cat(found)

    def improved(
        self, rest: Tensor, ids: Tensor, label: int, held: Sequence[int] = (), tried: int = TRIED
    ) -> tuple[Tensor, float]:
        """Return a sentence (L,) with the one change that explains most more of what is left, and how much more.

        0 where none does. A sentence with gaps, or without an end, must change: then the best change counts that
        closes a gap or ends it, whatever it explains.

        Args:
            rest: ((t + L') F,) what the other sentences leave.
            ids: The sentence.
            label: Its class.
            held: Places whose tokens stay.
            tried: How many tokens are tried at a place.
        """
        gap = _first_gap(self.middle, ids)
        rows = self._options(rest, ids, label, gap, held, tried)
        if not len(rows):
            return ids, 0.0
        first = Whole((self.middle,), self.middle, self.places).gains(rest, rows, label)
        rows = rows[first.topk(min(CONFIRMED, len(rows))).indices]
        found = self.gains(rest, torch.cat([ids[None], rows]), label)
        best = int(found[1:].argmax())
        gain = float(found[1 + best] - found[0])
        return (rows[best], max(gain, 1e-30)) if gain > 0 or gap else (ids, 0.0)

    def _options(self, rest: Tensor, ids: Tensor, label: int, gap: int, held: Sequence[int], tried: int) -> Tensor:
        """Return what a sentence may be changed to: at its first gap anything, else everywhere, or an earlier end."""
        used = extent(ids, self.middle.pad)
        left = rest.view_as(self.target)
        words, places = left[: len(self.middle.tokens)], left[len(self.middle.tokens) :]
        wanted = words[self.middle.rows(ids)] * (ids != self.middle.pad)[:, None]
        wanted[: len(places)] += places * (ids[: len(places)] != self.middle.pad)[:, None]
        promise = promised(self.middle, ids, label, [gap] if gap else [], wanted, words)
        free = [place for place in range(1, used + 1) if place not in held]
        if tried == TRIED:  # at first where they are known to stand
            promise = torch.where(self.middle.able(), promise, -torch.inf)
        tried = min(tried, max(MOST // max(len(free), 1), FEWEST))
        rows, _ = self.middle.options(ids, [gap] if gap else free, promise, tried)
        ends = [with_token(self.middle, ids, place, self.middle.last) for place in _ends(self.middle, ids, used)]
        moves = [] if gap else [*ends, *_moves(ids, free, self.middle.pad)]
        return torch.cat([rows, torch.stack(moves)]) if moves else rows


def _first_gap(evidence: Evidence, ids: Tensor) -> int:
    """Return the first place that must hold a token and does not; 0 where the sentence (L,) is whole."""
    used = extent(ids, evidence.pad)
    empty = (ids[1 : used + 1] == evidence.pad).nonzero()
    if len(empty):
        return int(empty[0]) + 1
    return used + 1 if evidence.last >= 0 and int(ids[used]) != evidence.last and used + 1 < len(ids) else 0


def _ends(evidence: Evidence, ids: Tensor, used: int) -> Sequence[int]:
    """Return earlier places at which a sentence (L,) might end: behind the last token that stands at one place only."""
    known = evidence.places[evidence.rows(ids[: used + 1])] == torch.arange(used + 1)
    placed = known.nonzero()
    return range(int(placed.max()) + 1 if len(placed) else 2, used) if evidence.last >= 0 else ()


def _moves(ids: Tensor, free: Sequence[int], pad: int) -> Iterator[Tensor]:
    """Yield a sentence (L,) with two tokens at free places exchanged, or one left out behind which all are free."""
    for one, two in ((one, two) for place, one in enumerate(free) for two in free[place + 1 :]):
        if int(ids[one]) != int(ids[two]) and (len(free) <= EXCHANGED or two == one + 1):
            made = ids.clone()
            made[[one, two]] = ids[[two, one]]
            yield made
    used = max(free, default=0)
    for place in free:
        if set(range(place, used + 1)) <= set(free) and place < used:
            made = ids.clone()
            made[place:used] = ids[place + 1 : used + 1]
            made[used] = pad
            yield made


def held(evidence: Evidence, ids: Tensor, row: int) -> list[int]:
    """Return the places of one of the sentences (n, L) that hold a token which stands there and in no other."""
    own = evidence.stands(ids)
    return [place for place in own[row].nonzero().flatten().tolist() if int((ids == ids[row, place]).sum()) == 1]


def completed(whole: Whole, ids: Tensor, labels: Tensor) -> Tensor:
    """Return sentences (n, L) in which every token that stands at one place stands there, where it fits best.

    Training saw each of them, whatever the sentences explain without it.
    """
    evidence = whole.middle
    known = evidence.places >= 0
    for token, place in zip(evidence.tokens[known].tolist(), evidence.places[known].tolist(), strict=True):
        if bool((ids[:, place] == token).any()):
            continue
        added, _ = whole.explained(ids, labels)
        target = whole.target.flatten()
        best, found = -torch.inf, None
        for row in range(len(ids)):
            if extent(ids[row], evidence.pad) < place or place in held(evidence, ids, row):
                continue
            made = with_token(evidence, ids[row], place, token)
            pair = torch.stack([ids[row], made])
            gains = whole.gains(target - added.sum(0) + added[row], pair, int(labels[row]))
            if float(gains[1] - gains[0]) > best:
                best, found = float(gains[1] - gains[0]), (row, made)
        if found:
            ids = ids.clone()
            ids[found[0]] = found[1]
    return ids
