"""What the records of a report are: the words for them, and the numbers that say how alike two of them are.

No torch here. :mod:`..scoring.kind` compares records; this is what a reader of the report must know of that.
"""

from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

from .facts import Model

_MARKS = " ,;()'%+-"
_LONGEST = 300


def _plain(text: str) -> str:
    """Return text as it is; of a stranger's report it becomes part of every format, where it must not be markup."""
    marks = (mark for place, mark in enumerate(text) if mark != "." or text[place + 1 : place + 2] not in ("", " "))
    if len(text) > _LONGEST or not all(mark.isalnum() or mark in _MARKS for mark in marks):
        raise ValueError("the words for a kind of record are letters, digits and plain punctuation")
    return text


Plain = Annotated[str, AfterValidator(_plain)]
"""Words without any markup, link or address."""

Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]


class Words(Model):
    """How people call records of one kind, and what the statistic does to them."""

    one: Plain = Field(description="A record, such as image.")
    many: Plain = Field(description="Several of them, such as images.")
    axes: Plain = Field(description="What the numbers of an input's shape count, in their order.")
    similarity: Plain = Field(description="The statistic in full.")
    compared: Plain = Field(description="What of two records the statistic compares, such as pixels.")
    scored: Plain = Field(
        description="How a pair is scored, one sentence or more, continuing 'each pair is scored by'."
    )
    mismatched: Plain = Field(description="What stands for chance beside other records, where none were held out.")
    copied: Plain = Field(description="What a near copy went through.")
    hints: Plain = Field(description="What a set of them can give away without any one of them.")
    merged: Plain = Field(description="How several reconstructions of a record become one.")

    def count(self, n: int, before: str = "") -> str:
        """Return ``1 image`` or ``3 training images``."""
        return " ".join([str(n), *before.split(), self.one if n == 1 else self.many])


class Detail(Model):
    """A number on a pair of records beside their similarity."""

    name: Name = Field(description="Its key in the scores; gates name its mean NAME_mean.")
    title: Plain
    said: Plain = Field(description="What it is, continuing 'mean'.")
    note: Plain = Field("", description="A word on how it is measured.")
    unit: Plain = ""
    digits: int = Field(3, ge=0, le=9, description="Decimals that are shown.")
    brief: bool = Field(False, description="Whether it is shown where there is room for little.")
    best: bool = Field(False, description="Whether its highest value is told beside its mean.")


class Metric(NamedTuple):
    """Where a number of a result stands, and what it is in words."""

    field: str
    detail: str
    said: str


class RecordKind(Model):
    """One kind of record."""

    name: Name
    statistic: Plain = Field(description="The similarity by which records are paired, in [-1, 1]; 1 is identical.")
    threshold: float = Field(ge=-1, le=1, description="Similarity from which a record may count as reconstructed.")
    stem: Name = Field(description="Gates name the similarity STEM_mean and STEM_max.")
    words: Words
    details: tuple[Detail, ...] = Field((), description="Further numbers that are shown; the scores may hold more.")

    def metrics(self) -> dict[str, Metric]:
        """Return the numbers of a result that have names of this kind, as gates use them."""
        found = {
            f"{self.stem}_mean": Metric("similarity_mean", "", f"mean {self.statistic}"),
            f"{self.stem}_max": Metric("similarity_max", "", f"best {self.statistic}"),
        }
        return found | {f"{d.name}_mean": Metric("details_mean", d.name, f"mean {d.said}") for d in self.details}


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
