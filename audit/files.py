"""Writing a file: whole or not at all."""

import errno
import os
import secrets
from pathlib import Path

from .. import MemauditError

FREE = "Free some space, then run the same command."
"""What to do where the disk is full."""


class FormatError(MemauditError):
    """A file cannot be written where it was asked for."""


def write_text(path: Path, text: str) -> Path:
    """Write ``text`` as UTF-8; see :func:`write_bytes`."""
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes) -> Path:
    """Write ``content`` beside ``path`` and rename it into place; parent folders are created.

    A symbolic link is followed, and a device or a pipe is refused rather than replaced.

    Returns:
        ``path``, as given.

    Raises:
        FormatError: The destination is no regular file, or its folder cannot be written to.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise FormatError(f"{path} is a folder.", f"Name a file in it, for example {path / 'report'}.")
    if target.exists() and not target.is_file():
        raise FormatError(f"{path} is not a regular file.", "Name an ordinary file.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, content)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = FREE if error.errno == errno.ENOSPC else "Choose a folder that you may write to."
        raise FormatError(f"{path} cannot be written ({reason}).", hint) from None
    return path


def _replace(target: Path, content: bytes) -> None:
    part = target.with_name(f".memaudit-{secrets.token_hex(6)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
