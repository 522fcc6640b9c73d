"""A folder of images, flat or with one sub-folder per class."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image, ImageOps

from ..plugins import one_line
from .base import Array, DataError, RawSet, Sample

_EXTENSIONS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")  # Whatever the extension says: no EPS, no PDF.


class FolderSource:
    """``train/`` with images in it, or with sub-folders whose sorted names are the classes 0, 1, ...

    Images are taken in the order of their names. Hidden files, other files and deeper folders are ignored. Of an
    animation or a multi-page file the first picture counts; the EXIF orientation is applied; transparency is dropped.
    """

    form: ClassVar[str] = "a FOLDER of png, jpg, bmp, webp, gif or tif images, flat or with one sub-folder per class"

    def accepts(self, spec: str) -> bool:
        """Return whether ``spec`` is a folder."""
        return os.path.isdir(spec)

    def open(self, spec: str) -> RawSet:
        """List the images of a folder; they are decoded on the way.

        Raises:
            DataError: There are no images, there are images both flat and in sub-folders, or one cannot be decoded.
        """
        root = Path(spec)
        flat = _images(root)
        classes = [entry for entry in _visible(root) if entry.is_dir()]
        files = [(path, label) for label, folder in enumerate(classes) for path in _images(folder)]
        if flat and files:
            folder = files[0][0].parent.name
            raise DataError(
                f"{spec!r} holds both images ({flat[0].name!r}) and sub-folders of images ({folder!r}).",
                "Move the images into sub-folders, one per class, or the sub-folders elsewhere.",
            )
        if not flat and not files:
            raise DataError(f"{spec!r} holds no images.", f"Give {self.form}.")
        if flat:
            return RawSet(len(flat), _samples(root, [(path, -1) for path in flat]))
        return RawSet(len(files), _samples(root, files), tuple(_text(folder.name) for folder in classes))


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise DataError(f"The folder {str(folder)!r} cannot be listed: {error.strerror}.") from error


def _images(folder: Path) -> list[Path]:
    return [entry for entry in _visible(folder) if entry.suffix.lower() in _EXTENSIONS and entry.is_file()]


def _samples(root: Path, files: list[tuple[Path, int]]) -> Iterator[Sample]:
    for path, label in files:
        yield Sample(_decode(path), _text(path.relative_to(root).as_posix()), label)


def _text(name: str) -> str:
    """A file name that is not valid UTF-8 must not break the report."""
    return os.fsencode(name).decode("utf-8", "replace")


def _decode(path: Path) -> Array:
    """Decode a file to uint8 (h, w) or (h, w, 3), or to float32 (h, w) in [0, 1] where it has 16 bits."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as picture:
                return _pixels(path, ImageOps.exif_transpose(picture))
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise SyntaxError, struct.error and others on broken files.
        raise DataError(f"The image {str(path)!r} cannot be decoded: {one_line(error)}.") from error


def _pixels(path: Path, picture: Image.Image) -> Array:
    mode = picture.mode
    if mode.startswith("I;16"):
        return np.asarray(picture, np.float32) / np.float32(65535)
    if mode in ("I", "F"):
        raise DataError(f"The image {str(path)!r} has 32 bits per pixel (mode {mode}), whose range is unknown.")
    if mode in ("1", "L", "LA", "La"):
        return np.asarray(picture.convert("L"))
    return np.asarray((picture.convert("RGBA") if mode == "P" else picture).convert("RGB"))
