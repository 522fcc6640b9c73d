"""ROUGE-L of words (Lin 2004): how long a sequence of words two sentences share, in the same order.

The numbers are those of the package ``rouge-score``, which a test holds; written for many pairs at once, and for other
scripts than the Latin one, of which that package sees nothing.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_PLAIN = re.compile("[a-z0-9]+")
_UNSPACED = re.compile("(CJK|HIRAGANA|KATAKANA|THAI|LAO|KHMER|MYANMAR) ")

Words = tuple[str, ...]


def words(text: str) -> Words:
    """Return the words of a text, in small letters and without marks between them.

    ASCII is split as ``rouge-score`` does it. Elsewhere a word is letters and digits of any script, and in scripts
    without blanks each sign is one. A text without any of these, such as ``?!``, is split at its blanks.
    """
    small = unicodedata.normalize("NFC", text).lower()
    if small.isascii():
        return tuple(_PLAIN.findall(small)) or tuple(small.split())
    return tuple("".join(map(_spaced, small)).split()) or tuple(small.split())


def rouge_l(one: Words, two: Words) -> float:
    """Return the F-measure of the longest common subsequence, in [0, 1]; 0 where a sentence has no words."""
    return float(_row(one, [two])[0])


def rouge_l_row(one: Words, others: Sequence[Words]) -> Tensor:
    """Return (n,) float64: :func:`rouge_l` of one sentence with each of n others."""
    return torch.tensor(_row(one, others), dtype=torch.float64)


def _row(one: Words, others: Iterable[Words]) -> list[float]:
    """Compute a row of the table of the dynamic programme in one number, a bit a word (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    full, found = (1 << len(one)) - 1, []
    for other in others:
        row = full
        for word in other:
            same = row & places.get(word, 0)
            row = (row + same | row - same) & full
        length = len(one) - row.bit_count()
        found.append(2 * length / (len(one) + len(other)) if length else 0.0)
    return found


def _spaced(sign: str) -> str:
    if not (sign.isalnum() or unicodedata.category(sign).startswith("M")):
        return " "
    return f" {sign} " if _UNSPACED.match(unicodedata.name(sign, "")) else sign
