"""A folder of images, flat or with one sub-folder per class."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np
from PIL import Image

from ..plugins import one_line
from .base import DataError, RawSet, Sample, Unreadable
from .listing import check_depth, look
from .preparation import UPRIGHT, Array

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")  # Whatever the extension says: no EPS, no PDF.
_ORIENTATION = 0x0112
_POINTERS = {b"version https://git-lfs": "Git LFS", b"/annex/objects/": "git-annex"}


class FolderSource:
    """``train/`` with images in it, or with sub-folders whose sorted names are the classes 0, 1, ...

    Images are taken in the order of their names. Hidden files and desktop litter are ignored; deeper folders of images
    are refused. Of an animation or a multi-page file the first picture counts; transparency is dropped.
    """

    form: ClassVar[str] = "a FOLDER of png, jpg, bmp, webp, gif, tif or ppm images, flat or with a sub-folder per class"

    def accepts(self, spec: str) -> bool:
        """Return whether ``spec`` is a folder."""
        return os.path.isdir(spec)

    def open(self, spec: str) -> RawSet:
        """List the images of a folder; they are decoded on the way.

        Raises:
            DataError: There are no images, or images both flat and in sub-folders, or deeper ones.
        """
        root = Path(spec)
        top = look(root)
        classes = [(folder, look(folder)) for folder in top.folders]
        files = [(path, wrong, label) for label, (_, found) in enumerate(classes) for path, wrong in found.images]
        if top.images and files:
            one, other = top.images[0][0].name, files[0][0].parent.name
            raise DataError(
                f"{spec!r} holds both images ({one!r}) and sub-folders of images ({other!r}).",
                "Move the images into sub-folders, one per class, or the sub-folders elsewhere.",
            )
        check_depth(spec, classes)
        passed = [*top.passed, *(path for _, found in classes for path in found.passed)]
        if top.images:
            files, classes = [(path, wrong, -1) for path, wrong in top.images], []
        if not files:
            beside = f", but {len(passed)} other files" if passed else ""
            raise DataError(f"{spec!r} holds no images{beside}.", f"Give {self.form}.")
        return RawSet(
            size=len(files),
            samples=_samples(root, files),
            class_names=tuple(_text(folder.name) for folder, _ in classes),
            photos=True,
            passed=tuple(_place(root, path) for path in passed),
        )


def _samples(root: Path, files: list[tuple[Path, str, int]]) -> Iterator[Sample | Unreadable]:
    for path, wrong, label in files:
        name = _place(root, path)
        if wrong:
            yield Unreadable(name, wrong)
            continue
        try:
            image, orientation = decode(path)
        except DataError as error:
            yield Unreadable(name, error.message)
        except Exception as error:  # Pillow's decoders raise SyntaxError, struct.error and others on broken files.
            yield Unreadable(name, _pointer(path) or one_line(error))
        else:
            yield Sample(image, name, label, orientation)


def _place(root: Path, path: Path) -> str:
    return _text(path.relative_to(root).as_posix())


def _text(name: str) -> str:
    """A file name that is not valid UTF-8 must not break the report."""
    return os.fsencode(name).decode("utf-8", "replace")


def decode(file: Path | BinaryIO) -> tuple[Array, int]:
    """Decode a file, or what is read of one, as it is stored.

    It comes as uint8 (h, w) or (h, w, 3), or float32 (h, w) in [0, 1] where it has 16 bits.

    Returns:
        The pixels, and the EXIF orientation, 1 where the file has none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file, formats=_FORMATS) as picture:
            return _pixels(picture), _orientation(picture)


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation of a picture that is decoded: Pillow turns TIFF by itself, and then it has none."""
    try:
        found = picture.getexif().get(_ORIENTATION, UPRIGHT)
    except Exception:  # A damaged tag is none: the pixels are there.
        return UPRIGHT
    return found if found in range(1, 9) else UPRIGHT


def _pixels(picture: Image.Image) -> Array:
    mode = picture.mode
    if mode.startswith("I;16") or (mode == "I" and picture.format == "PPM"):
        return np.asarray(picture, np.float32) / np.float32(65535)
    if mode in ("I", "F"):
        raise DataError(f"32 bits per pixel, mode {mode}, whose range is unknown")
    if mode in ("1", "L", "LA", "La"):
        return np.asarray(picture.convert("L"))
    return np.asarray((picture.convert("RGBA") if mode == "P" else picture).convert("RGB"))


def _pointer(path: Path) -> str:
    """Say that a file only stands for one in a store of large files, where it does."""
    try:
        with path.open("rb") as file:
            start = file.read(len(max(_POINTERS, key=len)))
    except OSError:
        return ""
    names = [name for mark, name in _POINTERS.items() if start.startswith(mark)]
    return f"a pointer of {names[0]}, whose file was not fetched" if names else ""
