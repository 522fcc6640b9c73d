"""What the records of a report are: the words for them, and the numbers that say how alike two of them are.

Plain dataclasses, so that matching needs no library for them. :mod:`..scoring.kind` compares records; this is what a
reader of the report must know of that. The words may come from a plugin and become part of every format: they are
letters, digits and plain punctuation, so that they are nowhere markup, a link or an address.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

_NAME = re.compile("[a-z][a-z0-9_]{0,39}")
_MARKS = " ,;()'%+-"
_LONGEST, _MOST_DIGITS = 300, 9


@dataclass(frozen=True)
class Words:
    """How people call records of one kind, and what is done to them.

    Attributes:
        one: A record, such as image.
        many: Several of them, such as images.
        axes: What the numbers of an input's shape count, in their order.
        similarity: The statistic in full.
        compared: What of two records the statistic compares, such as pixels.
        scored: How a pair is scored; continues "each pair is scored by".
        mismatched: What stands for chance beside other records, where none were held out.
        copied: What a near copy went through.
        hints: What a set of them can give away without any one of them.
        merged: How several reconstructions of a record become one.
    """

    one: str
    many: str
    axes: str
    similarity: str
    compared: str
    scored: str
    mismatched: str
    copied: str
    hints: str
    merged: str

    def __post_init__(self) -> None:
        _check_words(vars(self).values())

    def count(self, n: int, before: str = "") -> str:
        """Return ``1 image`` or ``3 training images``."""
        return " ".join([str(n), *before.split(), self.one if n == 1 else self.many])


@dataclass(frozen=True)
class Detail:
    """A number on a pair of records beside their similarity.

    Attributes:
        name: Its key in the scores; gates name its mean NAME_mean.
        title: Its heading.
        said: What it is; continues "mean".
        note: A word on how it is measured.
        unit: Behind the number.
        digits: Decimals that are shown, up to nine.
        brief: Whether it is shown where there is room for little.
        best: Whether its highest value is shown beside its mean.
    """

    name: str
    title: str
    said: str
    note: str = ""
    unit: str = ""
    digits: int = 3
    brief: bool = False
    best: bool = False

    def __post_init__(self) -> None:
        _check_names(self.name)
        _check_words((self.title, self.said, self.note, self.unit))
        if not 0 <= self.digits <= _MOST_DIGITS:
            raise ValueError(f"{self.digits} decimals")


class Metric(NamedTuple):
    """Where a number of a result stands, and what it is in words."""

    field: str
    detail: str
    said: str


@dataclass(frozen=True)
class RecordKind:
    """One kind of record.

    Attributes:
        name: Of the kind, such as image.
        statistic: The similarity by which records are paired, in [-1, 1]; 1 is identical.
        threshold: Similarity from which a record may count as reconstructed.
        stem: Gates name the similarity STEM_mean and STEM_max.
        words: For people.
        details: Further numbers that are shown; the scores may hold more.
    """

    name: str
    statistic: str
    threshold: float
    stem: str
    words: Words
    details: tuple[Detail, ...] = ()

    def __post_init__(self) -> None:
        _check_names(self.name, self.stem)
        _check_words((self.statistic,))
        if not -1 <= self.threshold <= 1:
            raise ValueError(f"a threshold of {self.threshold}")
        if len(self.metrics()) < 2 + len(self.details):
            raise ValueError("two numbers of a kind of record have the same name")

    def metrics(self) -> dict[str, Metric]:
        """Return the numbers of a result that have names of this kind, as gates use them."""
        found = {
            f"{self.stem}_mean": Metric("similarity_mean", "", f"mean {self.statistic}"),
            f"{self.stem}_max": Metric("similarity_max", "", f"best {self.statistic}"),
        }
        return found | {f"{d.name}_mean": Metric("details_mean", d.name, f"mean {d.said}") for d in self.details}


def _check_words(texts: Iterable[str]) -> None:
    for text in texts:
        marks = (mark for place, mark in enumerate(text) if mark != "." or text[place + 1 : place + 2] not in ("", " "))
        if len(text) > _LONGEST or not all(mark.isalnum() or mark in _MARKS for mark in marks):
            raise ValueError("the words for a kind of record are letters, digits and plain punctuation")


def _check_names(*names: str) -> None:
    if not all(_NAME.fullmatch(name) for name in names):
        raise ValueError("the names of a kind of record are lower-case letters, digits and underscores")


IMAGE = RecordKind(
    name="image",
    statistic="SSIM",
    threshold=0.4,
    stem="ssim",
    words=Words(
        one="image",
        many="images",
        axes="channels, height, width",
        similarity="structural similarity",
        compared="pixels",
        scored="SSIM on pixels from 0 to 1. The paper's SSIM is scored as the SimuDy authors do, in normalised space "
        "and with a uniform window",
        mismatched="turned and mirrored ones",
        copied="scaled or compressed",
        hints="colours or coarse shapes",
        merged="the median of each pixel is taken",
    ),
    details=(
        Detail(
            name="ssim_paper", title="SSIM, paper", said="SSIM as the SimuDy paper computes it",
            note="as the SimuDy authors score", best=True,
        ),
        Detail(name="psnr", title="PSNR", said="PSNR in decibel", unit="dB", digits=1, brief=True),
    ),
)  # fmt: skip
"""Images: the kind of every report before schema 2.0. The threshold is the practice of Haim et al. 2022 and Buzaglo et
al. 2023."""

TEXT = RecordKind(
    name="text",
    statistic="ROUGE-L",
    threshold=0.5,
    stem="rouge_l",
    words=Words(
        one="sentence",
        many="sentences",
        axes="tokens, numbers of a token",
        similarity="overlap of words in the same order (longest common subsequence)",
        compared="words",
        scored="ROUGE-L on words without case and punctuation, as an F-measure. ROUGE-1 counts single words, ROUGE-2 "
        "two in a row; tokens are those of the model, whatever their order",
        mismatched="ones backwards or mixed out of several",
        copied="changed in case or punctuation",
        hints="frequent words or their topic",
        merged="the most frequent token at each place is taken",
    ),
    details=(
        Detail(name="rouge_1", title="ROUGE-1", said="ROUGE-1, the overlap of words", brief=True),
        Detail(name="rouge_2", title="ROUGE-2", said="ROUGE-2, the overlap of pairs of words", brief=True),
        Detail(name="tokens", title="Tokens", said="share of tokens recovered", note="in any order", best=True),
        Detail(name="exact", title="Exact", said="share of sentences exact to the token", digits=2),
    ),
)  # fmt: skip
"""Sentences. Half of the words in the same order: of 1,000 sentences of CoLA, 0.9 % come as close to the nearest of 15
others, and 0.3 % to the nearest of 4."""
