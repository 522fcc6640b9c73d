"""What lies in a folder of images, by names and kinds of file: nothing is opened here."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..words import count
from .base import DataError

IMAGES = frozenset({
    ".apng", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp",
})  # fmt: skip
"""Endings of images that are read."""

UNKNOWN = frozenset({
    ".ai", ".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dds", ".dng", ".emf", ".eps", ".exr", ".hdr", ".heic", ".heif",
    ".ico", ".j2k", ".jp2", ".jxl", ".jxr", ".nef", ".orf", ".pcx", ".pef", ".pfm", ".psb", ".psd", ".qoi", ".raf",
    ".ras", ".raw", ".rw2", ".sgi", ".srw", ".svg", ".tga", ".wmf", ".xbm", ".xcf", ".xpm",
})  # fmt: skip
"""Endings of images that are not read; they are not passed over either."""

_LITTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
_LITTER_ENDINGS = frozenset({".ini", ".lnk", ".log", ".md", ".rst", ".txt", ".url", ".webloc"})
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev"})


@dataclass(frozen=True)
class Found:
    """The files of one folder that count, and those that do not.

    Attributes:
        images: What is meant to be an image, ordered by name, each with what is wrong about it, or nothing.
        passed: Other files that are not the usual litter.
        folders: Sub-folders, ordered by name.
    """

    images: tuple[tuple[Path, str], ...]
    passed: tuple[Path, ...]
    folders: tuple[Path, ...]


def look(folder: Path) -> Found:
    """List a folder, but for hidden entries. Raises :class:`.base.DataError`."""
    images, passed, folders = [], [], []
    for path in _visible(folder):
        kind = _kind(path)
        known = path.suffix.lower()
        if kind == "a folder":
            folders.append(path)
        elif path.name.lower() in _LITTER or known in _LITTER_ENDINGS:
            continue
        elif kind:
            images.append((path, kind))
        elif known in UNKNOWN:
            images.append((path, f"an image of a type that is not read, {known}"))
        elif known in IMAGES:
            images.append((path, ""))
        else:
            passed.append(path)
    return Found(tuple(images), tuple(passed), tuple(folders))


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise DataError(f"The folder {str(folder)!r} cannot be listed: {error.strerror}.") from error


def _kind(path: Path) -> str:
    """Return what an entry is; nothing where it is a regular file."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "a link to a missing file"
    except OSError as error:
        return f"a link that leads nowhere: {error.strerror}" if path.is_symlink() else str(error.strerror)
    if stat.S_ISDIR(mode):
        return "a folder"
    return "" if stat.S_ISREG(mode) else "not a regular file"


def check_depth(spec: str, classes: Iterable[tuple[Path, Found]]) -> None:
    """Refuse folders that hold images where none are looked for: deeper, or in parts of a data set.

    Args:
        spec: The folder as it was given.
        classes: Its sub-folders, and what lies in them.

    Raises:
        DataError: There are such; it says which sub-folders hold images.
    """
    classes = list(classes)
    deeper = {folder: sum(len(look(below).images) for below in found.folders) for folder, found in classes}
    splits = [folder for folder, found in classes if folder.name.lower() in _SPLITS and found.images]
    parts = {folder: n for folder, n in deeper.items() if n}
    if not parts and len(splits) > 1:
        parts = {folder: len(found.images) for folder, found in classes if folder in splits}
    if parts:
        told = ", ".join(f"{folder.name!r} ({count(n, 'image')})" for folder, n in list(parts.items())[:5])
        first = next(iter(parts))
        raise DataError(
            f"{spec!r} is not one set of images: they lie in the parts {told}.",
            f"Give the part that was trained on, for example {str(first)!r}: images, or one sub-folder per class.",
        )
