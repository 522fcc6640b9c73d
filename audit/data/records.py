"""What data sets are made of, and one that is read: records with labels and names."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from ... import MemauditError
from .preparation import UPRIGHT, Array

if TYPE_CHECKING:
    from ...attacks.contract.medium import Medium

MAX_IMAGES = 50_000
MAX_BYTES = 4 * 2**30
"""Limits of one set that is read as a whole: a damaged or hostile file must not fill the memory."""

MAX_ON_DISK = 64 * 2**30
"""Bytes of one set that is decoded image by image, for as long as it is in use in a temporary file."""


class DataError(MemauditError):
    """A training or control set cannot be read; the message names the file."""


@dataclass(frozen=True)
class Reading:
    """Another usual way in which the same files may have become records.

    Attributes:
        name: What is done otherwise, in plain English, such as ``centre crop``.
        records: (m, ...) as those of the set; those that come out the same are the same.
    """

    name: str
    records: Tensor


@dataclass(frozen=True)
class TrainingSet:
    """Records that the victim was trained on, or a control set that it was not trained on.

    Attributes:
        records: (m, ...) in the form of the victim's medium, m at least 1: (m, c, h, w) float32 pixels in [0, 1], or
            (m, L) int64 token numbers.
        labels: (m,) int64 class indices; -1 where unknown.
        names: One name per record, for reports.
        class_names: Class index to name; empty if unknown.
        digest: SHA-256 over records and labels.
        resized: At least one record was not of the size that the network sees.
        reading: How files became records, in plain English; empty where every usual way gives the same.
        readings: Those other ways that give other pixels; none for a source whose records are prepared already, or
            where they would take too much memory.
        skipped: Files that could not be read and were left out, each with the reason.
        warnings: What a user should know of how the set was read, each a sentence.
    """

    records: Tensor
    labels: Tensor
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    digest: str
    resized: bool
    reading: str = ""
    readings: tuple[Reading, ...] = ()
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def prints(records: Tensor) -> list[bytes]:
    """Return a digest of each record (m, ...): those of exact copies are the same."""
    return [hashlib.sha256(record.contiguous().numpy().data).digest() for record in records]


def distinct(data: TrainingSet) -> TrainingSet:
    """Return a set without exact copies of records: a copy is no further evidence about chance."""
    first = {digest: i for i, digest in reversed(list(enumerate(prints(data.records))))}
    kept = sorted(first.values())
    if len(kept) == len(data.records):
        return data
    names = tuple(data.names[i] for i in kept)
    readings = tuple(Reading(other.name, other.records[kept]) for other in data.readings)
    return replace(data, records=data.records[kept], labels=data.labels[kept], names=names, readings=readings)


@dataclass(frozen=True)
class Sample:
    """One image as its source has it.

    Attributes:
        image: (h, w) or (h, w, c), uint8 or float32 in [0, 1].
        name: For reports and error messages.
        label: Class index; -1 if unknown.
        orientation: EXIF orientation, 1 to 8, which is not applied to the image.
    """

    image: Array
    name: str
    label: int = -1
    orientation: int = UPRIGHT


@dataclass(frozen=True)
class Unreadable:
    """A file that is meant to be an image, and of which none can be had.

    Attributes:
        name: As of a sample.
        reason: What is wrong; such as a link to a missing file.
    """

    name: str
    reason: str


def check_size(spec: str, shape: Sequence[int], most: int = MAX_BYTES) -> None:
    """Raise :class:`DataError` if float32 images of ``shape`` (m, ...) are too many, or take over ``most`` bytes."""
    advice = "Give the subset that is to be audited."
    if shape and shape[0] > MAX_IMAGES:
        raise DataError(f"{spec!r} holds {shape[0]} images; at most {MAX_IMAGES} can be read.", advice)
    if math.prod(shape) * 4 > most:
        size = math.prod(shape) * 4 / 2**30
        raise DataError(f"{spec!r} needs {size:.1f} GiB; at most {most / 2**30:.0f} GiB can be read.", advice)


def check_kind(spec: str, kind: str, many: str, medium: "Medium | None") -> None:
    """Raise :class:`DataError` where the network sees records of another kind; without a medium it sees images."""
    seen = medium.kind if medium else "image"
    if seen != kind:
        raise DataError(
            f"{spec!r} holds {many}, and the records that this network sees are of the kind {seen!r}.",
            "Give a data set of that kind.",
        )
