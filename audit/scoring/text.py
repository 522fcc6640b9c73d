"""Sentences: similar by ROUGE-L, shown as text. All tensors are (n, L) token numbers.

Scoring must work on a machine that has torch and little else: what only texts need is imported where it is used.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...attacks.text.medium import Tokens
from ..data.text import tokenizer_of
from ..printable import printable
from ..report.kind import TEXT, RecordKind
from .kind import KindError, Told, unheard
from .rouge import Words, rouge_l_row, words
from .spelling import Spelling

if TYPE_CHECKING:
    from ..report.exhibit import Text

_STRIDES = (1, 2)
"""Steps from sentence to sentence with which sentences are mixed."""


@dataclass(frozen=True)
class Sentence:
    """Sentences, compared by ROUGE-L and shown as text.

    Attributes:
        medium: The victim's, with its tokenizer; without one the words are the numbers of tokens.

    Raises:
        DataError: The tokenizer cannot be used.
        KindError: The package rouge-score is not there.
    """

    medium: Tokens
    about: ClassVar[RecordKind] = TEXT

    def __post_init__(self) -> None:
        if find_spec("rouge_score") is None:
            raise KindError(
                "Sentences are scored by the package rouge-score, which is not there.",
                "Run pip install '.[text]' in a checkout of memaudit.",
            )
        _ = self._spelling

    def matrix(self, truth: Tensor, guess: Tensor, told: Told = unheard) -> Tensor:
        """Return ROUGE-L of the words."""
        _check(truth, guess)
        guesses, found = self._words(guess), torch.zeros(len(truth), len(guess), dtype=torch.float64)
        for row, one in enumerate(self._words(truth)):
            found[row] = rouge_l_row(one, guesses)
            told(len(guesses))
        return found

    def pairs(self, one: Tensor, two: Tensor) -> Tensor:
        """Return ROUGE-L of the sentences at the same place."""
        _check(one, two)
        both = zip(self._words(one), self._words(two), strict=True)
        return torch.cat([torch.zeros(0, dtype=torch.float64), *(rouge_l_row(a, [b]) for a, b in both)])

    def details(self, truth: Tensor, guess: Tensor, inputs: Tensor) -> dict[str, float]:
        """Return ROUGE-1 and ROUGE-2 (F-measures), the share of tokens recovered, and whether all are, in place."""
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rouge1", "rouge2"], tokenizer=_Splitter())
        scores = scorer.score(self._spelling.text(truth[0]), self._spelling.text(guess[0]))
        wanted, found = self._spelling.tokens(truth[0]), self._spelling.tokens(guess[0])
        there = (Counter(wanted) & Counter(found)).total()
        return {
            "rouge_1": float(scores["rouge1"].fmeasure),
            "rouge_2": float(scores["rouge2"].fmeasure),
            "tokens": there / len(wanted) if wanted else 0.0,
            "exact": float(wanted == found and bool(wanted)),
        }

    def mismatches(self, records: Tensor) -> list[Tensor]:
        """Return the sentences backwards, and sentences backwards of which every word is of another one.

        Only the order of words makes one sentence of several: a sentence backwards has hardly more in common with the
        one forwards than the frequent words, like any other sentence. Of one sentence alone all are the same.
        """
        backwards = [sentence[::-1] for sentence in self._words(records)]
        versions = [backwards, *(_mixed(backwards, stride) for stride in _STRIDES)]
        return [self._spelling.records(version) for version in versions]

    def decoys(self, truth: Tensor, count: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Return the most frequent words in one sentence, and sentences of random training words, as long as theirs.

        Both are what one learns of a set without any of its sentences. The frequent words stand in the order of their
        mean places.
        """
        sentences = self._words(truth)
        bag = tuple(word for sentence in sentences for word in sentence)
        lengths = [len(sentence) for sentence in sentences]
        picks = torch.randint(max(len(lengths), 1), (count,), generator=rng).tolist()
        return {
            "the most frequent training words": self._spelling.records([_frequent(sentences)]),
            "random training words": self._spelling.records([_drawn(bag, lengths[pick], rng) for pick in picks]),
        }

    def alignment(self, one: Tensor, two: Tensor) -> Tensor:
        """Return the share of tokens that both have, with as much weight on those that stand at the same place."""
        _check(one, two)
        first, second = ([self._spelling.tokens(record) for record in records] for records in (one, two))
        found = torch.zeros(len(one), len(two), dtype=torch.float64)
        for row, mine in enumerate(first):
            bag = Counter(mine)
            for column, its in enumerate(second):
                there = (bag & Counter(its)).total()
                placed = sum(a == b for a, b in zip(mine, its, strict=False))
                found[row, column] = (there + placed) / max(len(mine) + len(its), 1)
        return found

    def merged(self, records: Tensor) -> Tensor:
        """Return at each place the token that most have there, the first one's in a tie; of embeddings the mean."""
        if records.ndim > 2:
            return records.mean(0)
        votes = (records[:, None] == records[None]).sum(1)
        return records.gather(0, votes.argmax(0, keepdim=True))[0]

    def near_copies(self, control: Tensor, truth: Tensor) -> int:
        """Return how many held-out sentences are training sentences but for case and punctuation."""
        trained = set(self._words(truth))
        return sum(found in trained for found in self._words(control))

    def show(self, record: Tensor, folder: Path, name: str, keep: bool = True) -> "Text":
        """Return the sentence, unless nothing may be kept."""
        from ..report.exhibit import Text

        return Text(text=printable(self._spelling.text(record)) if keep else "")

    @cached_property
    def _spelling(self) -> Spelling:
        return Spelling(self.medium, tokenizer_of(self.medium) if self.medium.tokenizer else None)

    def _words(self, records: Tensor) -> list[Words]:
        return [self._spelling.words(record) for record in records]


class _Splitter:
    """Our words, for the library."""

    def tokenize(self, text: str) -> list[str]:
        return list(words(text))


def _mixed(sentences: Sequence[Words], stride: int) -> list[Words]:
    """Return sentences as long as those given; the word at each place is of another one than stood there."""
    count = len(sentences)
    if count < 2:
        return list(sentences)
    made = []
    for row, sentence in enumerate(sentences):
        sources = [sentences[(row + 1 + stride * place % (count - 1)) % count] for place in range(len(sentence))]
        made.append(tuple(source[place % len(source)] for place, source in enumerate(sources) if source))
    return made


def _drawn(bag: Words, length: int, rng: torch.Generator) -> Words:
    return tuple(bag[pick] for pick in torch.randint(len(bag), (length,), generator=rng).tolist()) if bag else ()


def _frequent(sentences: Sequence[Words]) -> Words:
    """Return the most frequent words, as many as a sentence has on average, in the order of their mean places."""
    bag, places = Counter[str](), Counter[str]()
    for sentence in sentences:
        bag.update(sentence)
        for place, word in enumerate(sentence):
            places[word] += place
    chosen = [word for word, _ in bag.most_common(round(bag.total() / max(len(sentences), 1)))]
    return tuple(sorted(chosen, key=lambda word: places[word] / bag[word]))


def _check(one: Tensor, two: Tensor) -> None:
    if one.shape[1:] != two.shape[1:]:
        raise ValueError(f"sentences of {tuple(one.shape[1:])} and of {tuple(two.shape[1:])} tokens")
