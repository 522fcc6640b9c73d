"""Changes of sentences that are worth trying: other tokens, exchanges, moves, earlier and later ends, crossings.

Each is ranked by what its tokens promise at their new places; which one helps is for others to measure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .medium import Tokens

Put = tuple[int, int, int]
"""A sentence, a place in it, and the token that is put there."""


@dataclass(frozen=True)
class Edit:
    """A change of sentences.

    Attributes:
        puts: Tokens that are put in place of others, where that is all.
        rows: New sentences (L,) by their numbers, where more changes.
        labels: New classes by the numbers of the sentences.
    """

    puts: tuple[Put, ...] = ()
    rows: dict[int, Tensor] = field(default_factory=dict)
    labels: dict[int, int] = field(default_factory=dict)

    @property
    def touched(self) -> set[int]:
        """Numbers of the sentences that change."""
        return {sentence for sentence, *_ in self.puts} | self.rows.keys() | self.labels.keys()

    def meets(self, other: "Edit") -> bool:
        """Return whether two edits cannot be made together."""
        if self.puts and other.puts:
            return bool({put[:2] for put in self.puts} & {put[:2] for put in other.puts})
        return bool(self.touched & other.touched)

    def made(self, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return sentences (n, L) and classes (n,) after it."""
        ids, labels = ids.clone(), labels.clone()
        for sentence, place, token in self.puts:
            ids[sentence, place] = token
        for sentence, row in self.rows.items():
            ids[sentence] = row
        for sentence, label in self.labels.items():
            labels[sentence] = label
        return ids, labels


def content(medium: Tokens, row: Tensor) -> list[int]:
    """Return the tokens of a sentence (L,) between those that begin and end every one."""
    return [token for token in row.tolist() if token not in {medium.pad, medium.first, medium.last}]


def sentence(medium: Tokens, tokens: Sequence[int]) -> Tensor:
    """Return (L,) a sentence of some tokens; those that find no room are left out."""
    ends = (medium.first >= 0) + (medium.last >= 0)
    kept = list(tokens)[: medium.length - ends]
    whole = [medium.first] * (medium.first >= 0) + kept + [medium.last] * (medium.last >= 0)
    return torch.tensor(whole + [medium.pad] * (medium.length - len(whole)))


@dataclass(frozen=True)
class Promises:
    """What tokens promise, and the edits that follow.

    Attributes:
        medium: The kind of sentences.
        ids: (n, L) the sentences.
        gains: (n, L, V) what each token promises at each place; minus infinity where it may not stand.
    """

    medium: Tokens
    ids: Tensor
    gains: Tensor

    @property
    def start(self) -> int:
        """The first place of content."""
        return int(self.medium.first >= 0)

    def put(self, sentence: int, place: int, token: int) -> float:
        """Return what one token promises; nothing beyond the end."""
        gain = float(self.gains[sentence, place, token])
        return gain if gain > -torch.inf else 0.0

    def all(self, few: int, most: int) -> list[Edit]:
        """Return the edits that promise most: of single tokens ``most``, of every other sort ``few``."""
        sorts = [self.exchanges(), self.shorter(), self.longer(), self.moved(), self.crossed()]
        found = [edit for _, edit in _best(self.replaced(max(most // 8, 2)), most)]
        for sort in sorts:
            found += [edit for _, edit in _best(sort, few)]
        return found

    def replaced(self, each: int) -> Iterator[tuple[float, Edit]]:
        """Yield other tokens, so many of each place, with what they promise."""
        for row, place in self._spots():
            best = self.gains[row, place].topk(min(each, self.gains.shape[2]))
            for gain, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                if gain > -torch.inf and token != int(self.ids[row, place]):
                    yield gain, Edit(((row, place, token),))

    def exchanges(self) -> Iterator[tuple[float, Edit]]:
        """Yield two tokens exchanged, of one sentence or of two."""
        spots = self._spots()
        rows, places = (torch.tensor([spot[k] for spot in spots], dtype=torch.long) for k in range(2))
        tokens = self.ids[rows, places]
        gains = self.gains[rows[:, None], places[:, None], tokens]
        total = (gains + gains.T).masked_fill(tokens[:, None] == tokens, -torch.inf).triu(1)
        count = min(64, total.numel())
        for gain, flat in zip(*(part.tolist() for part in total.flatten().topk(count)), strict=True):
            one, two = divmod(flat, len(spots))
            if one < two and gain > -torch.inf:
                yield gain, Edit(((*spots[one], int(tokens[two])), (*spots[two], int(tokens[one]))))

    def shorter(self) -> Iterator[tuple[float, Edit]]:
        """Yield sentences with one token left out."""
        for row, tokens in self._contents():
            for place in range(len(tokens) * (len(tokens) > 1)):
                yield self._edit(row, tokens[:place] + tokens[place + 1 :], tokens)

    def longer(self) -> Iterator[tuple[float, Edit]]:
        """Yield sentences with one token more, the best two of each place."""
        for row, tokens in self._contents():
            if len(tokens) + self.start + (self.medium.last >= 0) >= self.medium.length:
                continue
            for place in range(len(tokens) + 1):
                best = self.gains[row, min(place, max(len(tokens) - 1, 0)) + self.start].topk(2)
                for gain, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                    total, edit = self._edit(row, [*tokens[:place], token, *tokens[place:]], tokens)
                    yield total + (gain if place == len(tokens) else 0.0), edit

    def moved(self) -> Iterator[tuple[float, Edit]]:
        """Yield sentences with one token at another place, two or more away."""
        for row, tokens in self._contents():
            for place in range(len(tokens)):
                rest = tokens[:place] + tokens[place + 1 :]
                for to in range(len(tokens)):
                    if abs(to - place) > 1:
                        yield self._edit(row, [*rest[:to], tokens[place], *rest[to:]], tokens)

    def crossed(self) -> Iterator[tuple[float, Edit]]:
        """Yield two sentences with what stands behind a place exchanged."""
        found = self._contents()
        for number, (row, tokens) in enumerate(found):
            for other, others in found[number + 1 :]:
                for place in range(1, max(len(tokens), len(others))):
                    gain, one = self._edit(row, tokens[:place] + others[place:], tokens)
                    more, two = self._edit(other, others[:place] + tokens[place:], others)
                    yield gain + more, Edit(rows={**one.rows, **two.rows})

    def _edit(self, row: int, after: list[int], before: list[int]) -> tuple[float, Edit]:
        """Return a whole new content of a sentence and what it promises: the sum over places that both have."""
        places = [k for k in range(min(len(after), len(before))) if after[k] != before[k]]
        gain = sum(self.put(row, k + self.start, after[k]) for k in places)
        return gain, Edit(rows={row: sentence(self.medium, after)})

    def _contents(self) -> list[tuple[int, list[int]]]:
        return [(row, content(self.medium, ids)) for row, ids in enumerate(self.ids)]

    def _spots(self) -> list[tuple[int, int]]:
        """Return the sentences and places of all content."""
        return [(row, self.start + k) for row, tokens in self._contents() for k in range(len(tokens))]


def _best(found: Iterator[tuple[float, Edit]], most: int) -> list[tuple[float, Edit]]:
    return sorted(found, key=lambda pair: -pair[0])[:most]
