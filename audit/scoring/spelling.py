"""Token numbers and the words that they spell."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...attacks.text.medium import Tokens
from ..data.text import tokenised
from .rouge import Words, words

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass
class Spelling:
    """Turns records (L,) of token numbers into tokens, text and words, and words into records.

    Attributes:
        medium: Of the victim.
        tokenizer: Of its model; ``None`` where it has none, so that each token is a word: its number.
    """

    medium: Tokens
    tokenizer: "Tokenizer | None"
    _special: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        found = {self.medium.pad, self.medium.first, self.medium.last}
        if self.tokenizer is not None:
            unknown = getattr(self.tokenizer.model, "unk_token", None)
            added = self.tokenizer.get_added_tokens_decoder()
            found |= {number for number, token in added.items() if token.special and token.content != unknown}
        self._special = frozenset(found)

    def tokens(self, record: Tensor) -> list[int]:
        """Return the token numbers of a record without special ones, such as those that begin, end and pad it."""
        return [number for number in record.long().tolist() if number not in self._special]

    def text(self, record: Tensor) -> str:
        """Return a record as text, without special tokens but the one for unknown words."""
        tokens = self.tokens(record)
        if self.tokenizer is None:
            return " ".join(map(str, tokens))
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=False)
        return text.strip()

    def words(self, record: Tensor) -> Words:
        """Return the words of a record, as ROUGE compares them."""
        return words(self.text(record))

    def records(self, sentences: Sequence[Words]) -> Tensor:
        """Return records (n, L) int64 of sentences given as words; what has no room is left out."""
        if self.tokenizer is not None:
            return tokenised([" ".join(sentence) for sentence in sentences], self.medium, self.tokenizer)[0]
        made = torch.full((len(sentences), self.medium.length), self.medium.pad)
        for row, sentence in enumerate(sentences):
            few = sentence[: self.medium.length]
            made[row, : len(few)] = torch.tensor([int(word) for word in few], dtype=torch.long)
        return made
