"""The training set, the contract of a data source, and how images come into the shape that the victim sees."""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ... import MemauditError
from ..plugins import load_all

GROUP = "memaudit.data"
"""The entry-point group of data sources."""

MAX_IMAGES = 50_000
MAX_BYTES = 4 * 2**30
"""Limits of one set: what attacks can audit is far below, and a damaged or hostile file must not fill the memory."""

Shape = tuple[int, int, int]
Array = NDArray[Any]


class DataError(MemauditError):
    """A training or control set cannot be read; the message names the file."""


@dataclass(frozen=True)
class TrainingSet:
    """Images that the victim was trained on, or a control set that it was not trained on.

    Attributes:
        records: (m, c, h, w) float32 pixels in [0, 1], m at least 1.
        labels: (m,) int64 class indices; -1 where unknown.
        names: One name per image, for reports.
        class_names: Class index to name; empty if unknown.
        digest: SHA-256 over images and labels.
        resized: At least one image was not of the wanted height and width.
    """

    records: Tensor
    labels: Tensor
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    digest: str
    resized: bool


def distinct(data: TrainingSet) -> TrainingSet:
    """Return a set without exact copies of images: a copy is no further evidence about chance."""
    first = {image.numpy().tobytes(): i for i, image in reversed(list(enumerate(data.records)))}
    kept = sorted(first.values())
    if len(kept) == len(data.records):
        return data
    names = tuple(data.names[i] for i in kept)
    return replace(data, records=data.records[kept], labels=data.labels[kept], names=names)


@dataclass(frozen=True)
class Sample:
    """One image as its source has it.

    Attributes:
        image: (h, w) or (h, w, c), uint8 or float32 in [0, 1].
        name: For reports and error messages.
        label: Class index; -1 if unknown.
    """

    image: Array
    name: str
    label: int = -1


@dataclass(frozen=True)
class RawSet:
    """What a source hands over: images of any size, decoded one after the other as they are asked for.

    Attributes:
        size: Number of samples.
        samples: The samples; may raise :class:`DataError` on the way.
        class_names: Class index to name; empty if unknown.
    """

    size: int
    samples: Iterable[Sample]
    class_names: tuple[str, ...] = ()


class DataSource(Protocol):
    """A kind of data set, registered in the entry-point group :data:`GROUP` as a callable without arguments."""

    form: ClassVar[str]
    """What a spec for this source looks like; shown to the user."""

    def accepts(self, spec: str) -> bool:
        """Return whether this source is meant by ``spec``; must not raise."""
        ...

    def open(self, spec: str) -> RawSet:
        """Return the data set. Raises :class:`DataError`, naming what is wrong where."""
        ...


def open_source(spec: str, shape: Shape | None = None) -> TrainingSet:
    """Read a data set with the first source that accepts ``spec`` and bring its images to ``shape``.

    RGB becomes grey by the ITU-R 601 weights, grey becomes RGB by repetition. Images of another size are stretched
    with Pillow's antialiased bicubic filter, not cropped.

    Args:
        spec: A path, or what else the installed sources accept.
        shape: (c, h, w) that the victim sees. ``None`` keeps the size, which all images must then share.

    Raises:
        DataError: No source accepts ``spec``; the set is empty, unreadable or above the limits; sizes differ.
    """
    kinds, broken = load_all(GROUP)
    sources = [cast(Callable[[], DataSource], kind)() for kind in kinds.values()]
    for source in sources:
        if source.accepts(spec):
            return _assemble(spec, source.open(spec), shape)
    missing = "" if os.path.exists(spec) else ", and no such file or folder exists"
    forms = "; ".join(source.form for source in sources)
    raise DataError(f"No data source accepts {spec!r}{missing}.", " ".join([f"Accepted: {forms}.", *map(str, broken)]))


def check_size(spec: str, shape: Sequence[int]) -> None:
    """Raise :class:`DataError` if float32 images of ``shape`` (m, ...) are beyond :data:`MAX_IMAGES` or the bytes."""
    advice = "Give the subset that is to be audited."
    if shape and shape[0] > MAX_IMAGES:
        raise DataError(f"{spec!r} holds {shape[0]} images; at most {MAX_IMAGES} can be read.", advice)
    if math.prod(shape) * 4 > MAX_BYTES:
        size = math.prod(shape) * 4 / 2**30
        raise DataError(f"{spec!r} needs {size:.1f} GiB; at most {MAX_BYTES / 2**30:.0f} GiB can be read.", advice)


def _assemble(spec: str, raw: RawSet, shape: Shape | None) -> TrainingSet:
    if raw.size == 0:
        raise DataError(f"{spec!r} holds no images.")
    check_size(spec, (raw.size,))
    samples = raw.samples
    if shape is None:
        samples = list(samples)
        shape = _common_shape(spec, samples)
    check_size(spec, (raw.size, *shape))
    images = np.empty((raw.size, *shape), np.float32)
    labels, names, resized = [], [], False
    for target, sample in zip(images, samples, strict=True):
        target[:] = _fit(sample, shape)
        labels.append(sample.label)
        names.append(sample.name)
        resized |= sample.image.shape[:2] != shape[1:]
    classes = np.array(labels, np.int64)
    return TrainingSet(
        records=torch.from_numpy(images),
        labels=torch.from_numpy(classes),
        names=tuple(names),
        class_names=raw.class_names,
        digest=_digest(images, classes),
        resized=resized,
    )


def _digest(*arrays: Array) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.data.cast("B"))
    return digest.hexdigest()


def _common_shape(spec: str, samples: Sequence[Sample]) -> Shape:
    first = samples[0]
    height, width = first.image.shape[:2]
    for sample in samples:
        if sample.image.shape[:2] != (height, width):
            other = " x ".join(map(str, sample.image.shape[:2]))
            raise DataError(
                f"The images of {spec!r} differ in size: {first.name!r} is {height} x {width}, "
                f"{sample.name!r} is {other}.",
                "Resize them as in training, or give the victim's input shape.",
            )
    return max(len(_planes(sample.image)) for sample in samples), height, width


def _fit(sample: Sample, shape: Shape) -> NDArray[np.float32]:
    """The image as (c, h, w) pixels in [0, 1]."""
    planes = _planes(sample.image)
    if len(planes) != shape[0]:
        planes = _recolour(sample.name, planes, shape[0])
    if planes.shape[1:] != shape[1:]:
        size = (shape[2], shape[1])
        resize = Image.Resampling.BICUBIC
        planes = np.stack([np.asarray(Image.fromarray(plane).resize(size, resize)) for plane in planes])
    return planes.clip(0, 1)


def _planes(image: Array) -> NDArray[np.float32]:
    """An image (h, w) or (h, w, c) as float32 (c, h, w)."""
    planes = np.moveaxis(np.atleast_3d(image), 2, 0).astype(np.float32)
    return planes / np.float32(255) if image.dtype == np.uint8 else planes


def _recolour(name: str, planes: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    if len(planes) == 1:
        return np.repeat(planes, channels, axis=0)
    if len(planes) == 3 and channels == 1:
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        return np.tensordot(weights, planes, axes=1)[None]
    raise DataError(f"Image {name!r} has {len(planes)} channels and cannot be brought to {channels}.")
