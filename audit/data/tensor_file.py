"""Images and labels in one file: NumPy, PyTorch or safetensors. Nothing in such a file is ever executed."""

import math
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.lib import format as npy
from safetensors import safe_open
from torch import Tensor

from ..checkpoints.weights import CheckpointError, unpack
from ..plugins import one_line
from ..printable import printable
from .base import MAX_BYTES, DataError, RawSet, Sample, check_size
from .preparation import Array

_IMAGES = ("images", "x", "data", "X", "arr_0")
_LABELS = ("labels", "y", "targets", "Y", "target", "arr_1")
_CLASSES = ("class_names", "classes", "names")
_KNOWN = {*_IMAGES, *_LABELS, *_CLASSES}

_Content = Mapping[str, Array]


class TensorFileSource:
    """``data.npz``, ``.npy``, ``.pt``, ``.pth`` or ``.safetensors`` with pixels, and labels if there are any.

    - ``.npz``, ``.safetensors`` and a dict in ``.pt``: images under ``images``, ``x``, ``data``, ``X`` or ``arr_0``;
      labels under ``labels``, ``y``, ``targets``, ``Y``, ``target`` or ``arr_1``; names of the classes, at least one
      for each label, under ``class_names``, ``classes`` or ``names``.
    - ``.pt`` may also hold a tensor, or a tuple or list (images, labels); ``.npy`` holds images.
    - Shapes: (n, h, w), (n, c, h, w) or (n, h, w, c) with 1 or 3 channels; channels first where both would fit.
    - Values: integers 0 to 255, floats 0 to 1, or floats 0 to 255 (if the greatest is above 1.5).
    """

    form: ClassVar[str] = "a FILE.npz, .npy, .pt, .pth or .safetensors with images and labels"

    def accepts(self, spec: str) -> bool:
        """Return whether ``spec`` is a file with one of the extensions."""
        return Path(spec).suffix.lower() in _READERS and os.path.isfile(spec)

    def open(self, spec: str) -> RawSet:
        """Read the file.

        Raises:
            DataError: The file is damaged, would need code to be executed, holds no pixels or too many, or images and
                labels do not fit.
        """
        path = Path(spec)
        try:
            content = _READERS[path.suffix.lower()](path)
        except DataError:
            raise
        except Exception as error:  # Damaged files make zipfile, NumPy and torch raise errors of a dozen types.
            raise DataError(f"{spec!r} cannot be read as plain arrays: {one_line(error)}.", _ADVICE) from error
        images = _images(spec, content)
        labels = _labels(spec, content, len(images))
        names = tuple(str(name) for name in _entry(content, _CLASSES, np.array([])).ravel())
        if names and len(names) <= labels.max():
            raise DataError(f"{spec!r} has {len(names)} class names, but labels up to {labels.max()}.")
        samples = (
            Sample(image, f"{path.name}[{index}]", int(label))
            for index, (image, label) in enumerate(zip(images, labels, strict=True))
        )
        return RawSet(len(images), samples, names)


_ADVICE = "Save plain arrays or tensors only: images, or images and labels."


def _entry(content: _Content, keys: Iterable[str], default: Array) -> Array:
    return next((content[key] for key in keys if key in content), default)


def _wanted(path: Path, keys: Iterable[str]) -> set[str]:
    """The keys that mean something; an error if there are no images among them."""
    keys = list(keys)
    if not set(keys) & set(_IMAGES):
        found = ", ".join(sorted(keys)[:10]) or "nothing"
        raise DataError(f"{str(path)!r} has no images: found {found}.", f"Name the images one of {', '.join(_IMAGES)}.")
    return set(keys) & _KNOWN


def _read_npy(path: Path) -> _Content:
    with path.open("rb") as stream:
        return {"images": _read_array(path, stream)}


def _read_npz(path: Path) -> _Content:
    with zipfile.ZipFile(path) as archive:
        keys = _wanted(path, (name.removesuffix(".npy") for name in archive.namelist()))
        content = {}
        for key in keys:
            with archive.open(f"{key}.npy") as stream:
                content[key] = _read_array(path, stream)
        return content


def _read_array(path: Path, stream: IO[bytes]) -> Array:
    """Read one array; the header comes first, so that an array too large is refused before it is unpacked."""
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("only version 1.0 of the npy format is supported")
    shape, _, dtype = npy.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise DataError(f"{str(path)!r} holds Python objects, which are never loaded.", _ADVICE)
    check_size(str(path), shape)
    if dtype.kind not in "iufbSU" or max(1, math.prod(shape)) * dtype.itemsize > MAX_BYTES:
        raise DataError(f"{str(path)!r} holds values of type {printable(str(dtype), 100)}.", _ADVICE)
    stream.seek(0)
    array: Array = npy.read_array(stream, allow_pickle=False)
    return array


def _read_torch(path: Path) -> _Content:
    try:
        loaded = unpack(path)
    except CheckpointError as error:
        raise DataError(error.message, _ADVICE) from error
    if isinstance(loaded, Tensor):
        loaded = {"images": loaded}
    elif isinstance(loaded, tuple | list) and len(loaded) in (1, 2):
        loaded = dict(zip(("images", "labels"), loaded, strict=False))
    elif not isinstance(loaded, dict):
        raise DataError(f"{str(path)!r} holds a {type(loaded).__name__}.", _ADVICE)
    return {key: _array(path, loaded[key]) for key in _wanted(path, map(str, loaded))}


def _read_safetensors(path: Path) -> _Content:
    with safe_open(path, framework="pt") as file:
        return {key: _array(path, file.get_tensor(key)) for key in _wanted(path, file.keys())}


def _array(path: Path, value: Any) -> Array:
    if not isinstance(value, Tensor):
        return np.asarray(value)
    check_size(str(path), value.shape)  # A view can be far larger than its storage.
    array: Array = (value.float() if value.is_floating_point() else value).numpy(force=True)
    return array


_READERS: dict[str, Callable[[Path], _Content]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".safetensors": _read_safetensors,
}


def _images(spec: str, content: _Content) -> Array:
    """The images as (n, h, w) or (n, h, w, c), uint8 or float32 in [0, 1]."""
    images = _entry(content, _IMAGES, np.array([]))
    if images.size == 0:
        raise DataError(f"{spec!r} holds no images.")
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return _range(spec, images).transpose(0, 2, 3, 1)
    if (images.ndim == 4 and images.shape[3] in (1, 3)) or (images.ndim == 3 and images.shape[2] not in (1, 3)):
        return _range(spec, images)
    raise DataError(
        f"{spec!r} holds an array of shape {images.shape}, which is not a set of images.",
        "Give (n, h, w), (n, c, h, w) or (n, h, w, c) with 1 or 3 channels.",
    )


def _range(spec: str, images: Array) -> Array:
    """Bring values to uint8, or to float32 in [0, 1]."""
    if images.dtype.kind not in "iuf":
        raise DataError(f"{spec!r} holds values of type {images.dtype}; pixels are integers or floats.")
    low, high = images.min(), images.max()
    if not np.isfinite(low) or not np.isfinite(high):
        raise DataError(f"{spec!r} holds values that are not finite.")
    if low < -1e-3:
        raise DataError(f"{spec!r} holds negative values: it looks normalised.", "Give pixels in [0, 1] or [0, 255].")
    if high > 255:
        raise DataError(f"{spec!r} holds values up to {high}; pixels end at 255.")
    if images.dtype.kind in "iu":
        return images.astype(np.uint8)
    pixels = images.astype(np.float32)
    return (pixels / 255 if high > 1.5 else pixels).clip(0, 1)


def _labels(spec: str, content: _Content, count: int) -> Array:
    """The labels as (n,) integers."""
    labels = _entry(content, _LABELS, np.full(count, -1))
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise DataError(
            f"{spec!r} holds {count} images, but labels of shape {labels.shape}.", "Give one label per image."
        )
    if labels.dtype.kind not in "iu" or labels.min() < -1:
        raise DataError(
            f"{spec!r} has labels that are not class indices.", "Give integers 0, 1, ..., or -1 for unknown."
        )
    return labels.astype(np.int64)
