"""Writing a file: whole or not at all."""

import errno
import os
import secrets
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

from .. import MemauditError

FREE = "Free some space, then run the same command."
"""What to do where the disk is full."""


class FormatError(MemauditError):
    """A file cannot be written where it was asked for."""


TOML_LIMIT = 2**20
"""Bytes; a larger file was not written for memaudit."""


def read_toml(path: Path, what: str, error: type[MemauditError], hint: str) -> dict[str, Any]:
    """Read a TOML file that people write.

    Args:
        path: The file.
        what: What it is called in messages, such as ``The recipe``.
        error: What is raised where it cannot be read, is too large, or is not TOML.
        hint: What to do about it.
    """
    try:
        if path.stat().st_size > TOML_LIMIT:
            raise error(f"{what} {path} is larger than {TOML_LIMIT >> 20} MiB.", hint)
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as failure:
        raise error(f"{what} {path} cannot be read ({failure.strerror}).", hint) from None
    except (ValueError, RecursionError) as failure:  # no TOML, no text, or a number of thousands of digits
        why = next(iter(str(failure).splitlines()), "")[:200]
        raise error(f"{what} {path} is not TOML ({why}).", hint) from None


def write_text(path: Path, text: str, private: bool = False) -> Path:
    """Write ``text`` as UTF-8; see :func:`write_bytes`."""
    return write_bytes(path, text.encode("utf-8", "backslashreplace"), private)


def write_bytes(path: Path, content: bytes, private: bool = False) -> Path:
    """Write ``content`` beside ``path`` and rename it into place; parent folders are created.

    A symbolic link is followed, and a device or a pipe is refused rather than replaced.

    Args:
        path: The destination.
        content: The whole of it.
        private: Whether only the owner may read the file, as it shows personal data.

    Returns:
        ``path``, as given.

    Raises:
        FormatError: The destination is not a regular file, or its folder cannot be written to.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise FormatError(f"{path} is a folder.", f"Name a file in it, for example {path / 'report'}.")
    if target.exists() and not target.is_file():
        raise FormatError(f"{path} is not a regular file.", "Name an ordinary file.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, content, 0o600 if private else 0o666)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = FREE if error.errno == errno.ENOSPC else "Choose a folder that you may write to."
        raise FormatError(f"{path} cannot be written ({reason}).", hint) from None
    return path


def _replace(target: Path, content: bytes, mode: int) -> None:
    part = target.with_name(f".memaudit-{secrets.token_hex(6)}.part")
    try:
        with open(part, "xb", opener=partial(os.open, mode=mode)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
