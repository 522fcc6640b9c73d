"""Pictures of reconstructions and of the training images they match, as PNG files in the run folder."""

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

from ..files import FREE, PART, FormatError, replacing

FOLDER = Path("evidence")
"""Where pictures lie in the run folder, readable by the owner alone: they are personal data."""

DIGITS = 8
"""Hexadecimal digits of the digest of its pixels in a picture's name."""

OURS = re.compile(rf"(dummy|sample)-\d+-[0-9a-f]{{{DIGITS}}}\.(png|tmp)|{PART}")
"""Names of the pictures of a scan, and of those that a kill left half-written."""


def save_picture(image: "Tensor", folder: Path, name: str, keep: bool = True) -> str:
    """Write one image (c, h, w) in [0, 1] losslessly and return its path relative to the run folder.

    A digest of the pixels is part of the name, so that an older report never points at newer pictures.

    Args:
        image: One, three or any other number of channels; all but the first three are left out.
        folder: The run folder.
        name: File name without its suffix; may hold one folder.
        keep: Whether to write it at all; its path holds the pixels' digest either way.

    Raises:
        FormatError: It cannot be written.
    """
    levels = (image.detach().cpu().clamp(0, 1) * 255).round().byte().contiguous().numpy()
    relative = FOLDER / f"{name}-{hashlib.sha256(levels.tobytes()).hexdigest()[:DIGITS]}.png"
    if not keep:
        return relative.as_posix()
    path = folder / relative
    picture = Image.fromarray(levels[0]) if len(levels) < 3 else Image.fromarray(levels[:3].transpose(1, 2, 0))
    try:
        with replacing(folder, *relative.parts, private=True) as file:
            picture.save(file, format="PNG", optimize=False)
    except OSError as error:
        raise FormatError(f"The picture {path} cannot be written ({error.strerror}).", FREE) from None
    return relative.as_posix()


def inside(folder: Path, path: str) -> Path | None:
    """Return a file of the run folder; ``None`` where it is not there, or the path leads out of the folder."""
    try:
        found = (folder / path).resolve()
        return found if found.is_file() and found.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError):
        return None


def opened(folder: Path, path: str) -> Image.Image | None:
    """Return a PNG of the run folder as a picture, ``None`` where there is none."""
    found = inside(folder, path)
    if found is None:
        return None
    try:
        with Image.open(found, formats=["PNG"]) as picture:
            return picture.copy()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None


def prune(folder: Path, keep: Collection[str]) -> None:
    """Delete pictures that the report in ``folder`` no longer shows: they are personal data.

    Only files named as :func:`save_picture` is asked to name them go; a user's own pictures stay.

    Args:
        folder: The run folder.
        keep: Paths relative to it, as :func:`save_picture` returned them.
    """
    shown = folder / FOLDER
    for place, _, names, handle in os.fwalk(shown) if shown.is_dir() else ():  # enters no link
        below = Path(place).relative_to(folder)
        for name in names:
            if OURS.fullmatch(name) and (below / name).as_posix() not in keep:
                os.unlink(name, dir_fd=handle)
