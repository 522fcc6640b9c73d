"""Samples of any size become images of one: decoded one after the other, turned, fitted and coloured."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..printable import printable as shown
from ..words import count
from .preparation import EXIF, FITS, UPRIGHT, Array, Pixels, Preparation, Shape, turned_size, uneven
from .records import MAX_ON_DISK, DataError, Reading, Sample, TrainingSet, Unreadable, check_kind, check_size
from .room import room

if TYPE_CHECKING:
    from ...attacks.contract.medium import Medium

MAX_READINGS = 500 * 2**20
"""Bytes of all other readings of one set; what does not fit is left out, the least usual first."""

NAMED = 3
"""So many files are named in a sentence."""

AS_STORED = Preparation()


@dataclass(frozen=True)
class RawSet:
    """Images of any size, decoded one after the other as they are asked for.

    Attributes:
        size: Number of samples, unreadable ones among them.
        samples: The samples; may raise :class:`DataError` on the way.
        class_names: Class index to name; empty if unknown.
        photos: Whether they are files that training may have turned or cut in several ways.
        passed: Files beside them that are no images.
    """

    size: int
    samples: Iterable[Sample | Unreadable]
    class_names: tuple[str, ...] = ()
    photos: bool = False
    passed: tuple[str, ...] = ()

    def assembled(
        self,
        spec: str,
        shape: tuple[int, ...] | None = None,
        preparation: Preparation = AS_STORED,
        skip: bool = False,
        medium: "Medium | None" = None,
    ) -> TrainingSet:
        """Decode the samples one after the other; see :class:`.base.Raw`."""
        check_kind(spec, "image", "images", medium)
        if self.size == 0:
            raise DataError(f"{spec!r} holds no images.")
        check_size(spec, (self.size,))
        samples = self.samples
        if shape is None:
            samples = list(samples)
            shape = _common_shape(spec, [sample for sample in samples if isinstance(sample, Sample)], preparation)
        channels, height, width = shape
        check_size(spec, (self.size, *shape), MAX_ON_DISK)
        tray = _Tray(spec, (channels, height, width), preparation, _others(self, shape, preparation))
        images = room(spec, (self.size, *shape))
        for sample in samples:
            if isinstance(sample, Unreadable):
                tray.lost.append(f"{printable(sample.name)} ({sample.reason})")
            elif skip or not tray.lost:
                tray.take(sample, images)
        if tray.lost and not (skip and tray.kept):
            raise DataError(
                f"{len(tray.lost)} of {self.size} images of {spec!r} cannot be read: {_few(tray.lost)}.",
                "Fetch, convert or repair them, or leave them out with --skip-unreadable.",
            )
        return tray.emptied(images[: len(tray.kept)], self)


def _others(raw: RawSet, shape: tuple[int, ...], preparation: Preparation) -> tuple[Preparation, ...]:
    """Return the other ways to prepare the images, as many as there may be memory for."""
    room = MAX_READINGS // (raw.size * int(np.prod(shape)) * 4) if raw.photos else 0
    return preparation.others()[:room]


@dataclass
class _Tray:
    """What is known of the samples of a set while they are decoded."""

    spec: str
    shape: Shape
    preparation: Preparation
    others: tuple[Preparation, ...]
    kept: list[tuple[str, int]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    changed: dict[Preparation, dict[int, Pixels]] = field(default_factory=dict)
    resized: int = 0
    uneven: int = 0
    tagged: int = 0

    def take(self, sample: Sample, images: Pixels) -> None:
        """Put the record of a sample into the next of ``images``, and keep what other readings make of it."""
        stored, wanted, orientation = sample.image.shape[:2], self.shape[1:], sample.orientation
        size = turned_size(stored, orientation) if self.preparation.exif == "apply" else stored
        if self.preparation.preprocess == "none" and size != wanted:
            found, needed = " x ".join(map(str, size)), " x ".join(map(str, wanted))
            raise DataError(
                f"The image {sample.name!r} of {self.spec!r} is {found}, and the network sees {needed}.",
                "Choose how images are brought to that size: --preprocess squash, center-crop or pad.",
            )
        for other in self.others:
            if other.differs(self.preparation, stored, orientation, wanted):
                self._keep(other, sample)
        self.resized += size != wanted
        self.uneven += uneven(size, wanted)
        self.tagged += orientation != UPRIGHT
        images[len(self.kept)] = self._record(sample, self.preparation)
        self.kept.append((sample.name, sample.label))

    def _keep(self, other: Preparation, sample: Sample) -> None:
        record = self._record(sample, other)
        if record.shape == self.shape:
            self.changed.setdefault(other, {})[len(self.kept)] = record

    def _record(self, sample: Sample, preparation: Preparation) -> Pixels:
        made = preparation.prepare(sample.image, sample.orientation, self.shape[1:])
        return made if len(made) == self.shape[0] else _recolour(sample.name, made, self.shape[0])

    def emptied(self, images: Pixels, raw: RawSet) -> TrainingSet:
        """Return the set."""
        labels = np.array([label for _, label in self.kept], np.int64)
        return TrainingSet(
            records=torch.from_numpy(images),
            labels=torch.from_numpy(labels),
            names=tuple(name for name, _ in self.kept),
            class_names=raw.class_names,
            digest=_digest(images, labels),
            resized=self.resized > 0,
            reading=self._reading(),
            readings=tuple(self._readings(images)),
            skipped=tuple(self.lost),
            warnings=tuple(self._warnings(raw)),
        )

    def _reading(self) -> str:
        tag = [EXIF[self.preparation.exif]] * (self.tagged > 0)
        return ", ".join(tag + [FITS[self.preparation.preprocess]] * (self.uneven > 0))

    def _readings(self, images: Pixels) -> Iterable[Reading]:
        for other, rows in self.changed.items():
            if other.exif != self.preparation.exif and not self.tagged:
                continue
            made = images.copy()
            for row, record in rows.items():
                made[row] = record
            yield Reading(other.beside(self.preparation), torch.from_numpy(made))

    def _warnings(self, raw: RawSet) -> Iterable[str]:
        if raw.passed:
            files = count(len(raw.passed), "file")
            yield f"{files} of {self.spec!r} passed over, as not an image by name: {_few(raw.passed)}."
        if self.lost:
            yield f"{len(self.lost)} of {raw.size} images of {self.spec!r} are left out: {_few(self.lost)}."
        if self.uneven and self.preparation.preprocess == "squash":
            yield (
                f"{self.uneven} of {len(self.kept)} images of {self.spec!r} were stretched to "
                f"{self.shape[1]} x {self.shape[2]}; if training cropped or padded them, say --preprocess center-crop "
                "or pad."
            )


def printable(name: str) -> str:
    """Return a file's name as it may stand in a sentence."""
    return shown(name, 200)


def _few(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = [f"and {len(names) - NAMED} more"] * (len(names) > NAMED)
    return ", ".join([*map(printable, names[:NAMED]), *more])


def _digest(*arrays: Array) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()


def _common_shape(spec: str, samples: Sequence[Sample], preparation: Preparation) -> Shape:
    if not samples:
        return 1, 1, 1
    sizes = [
        turned_size(sample.image.shape[:2], sample.orientation if preparation.exif == "apply" else UPRIGHT)
        for sample in samples
    ]
    for sample, size in zip(samples, sizes, strict=True):
        if size != sizes[0]:
            first, other = (" x ".join(map(str, side)) for side in (sizes[0], size))
            raise DataError(
                f"The images of {spec!r} differ in size: {samples[0].name!r} is {first}, {sample.name!r} is {other}.",
                "Resize them as in training, or give the victim's input shape.",
            )
    return max(np.atleast_3d(sample.image).shape[2] for sample in samples), *sizes[0]


def _recolour(name: str, planes: Pixels, channels: int) -> NDArray[np.float32]:
    if len(planes) == 1:
        return np.repeat(planes, channels, axis=0)
    if len(planes) == 3 and channels == 1:
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        return np.tensordot(weights, planes, axes=1)[None]
    raise DataError(f"Image {name!r} has {len(planes)} channels and cannot be brought to {channels}.")
