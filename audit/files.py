"""Writing a file: whole or not at all.

Folders below the current one may have been written by a stranger, such as a pull request that CI audits. So they are
entered one by one by their descriptors, and a link among them, or in the place of a file, is refused, not followed.
"""

import errno
import os
import secrets
import stat
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .. import MemauditError

FREE = "Free some space, then run the same command."
"""What to do where the disk is full."""

PART = r"\.memaudit-[0-9a-f]{12}\.part"
"""Names of files that a killed process had not renamed into their place."""


class FormatError(MemauditError):
    """A file cannot be written where it was asked for."""


TOML_LIMIT = 2**20
"""Bytes; a larger file was not written for memaudit."""

_ENTER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_regular(path: Path, limit: int) -> bytes:
    """Read a small file, which must be an ordinary one: a pipe or a device is not opened.

    Returns:
        Its content, at most one byte more than ``limit``.

    Raises:
        OSError: It cannot be read, or is not a regular file.
    """
    odd = OSError(errno.EINVAL, "it is not a regular file")
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise odd
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise odd
        return file.read(limit + 1)


def read_toml(path: Path, what: str, error: type[MemauditError], hint: str) -> dict[str, Any]:
    """Read a TOML file that people write.

    Args:
        path: The file.
        what: What it is called in messages, such as ``The recipe``.
        error: What is raised where it cannot be read, is too large, or is not TOML.
        hint: What to do about it.
    """
    try:
        content = read_regular(path, TOML_LIMIT)
        if len(content) > TOML_LIMIT:
            raise error(f"{what} {path} is larger than {TOML_LIMIT >> 20} MiB.", hint)
        return tomllib.loads(content.decode())
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

    A symbolic link, a device or a pipe is refused rather than followed or replaced.

    Args:
        path: The destination.
        content: The whole of it.
        private: Whether only the owner may read the file, as it shows personal data.

    Returns:
        ``path``, as given.

    Raises:
        FormatError: The destination is not a regular file, or its folder cannot be written to.
    """
    refuse_links(path)
    if Path(path).is_dir():
        raise FormatError(f"{path} is a folder.", f"Name a file in it, for example {path / 'report'}.")
    try:
        with replacing(path.parent, path.name, private=private) as file:
            file.write(content)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = FREE if error.errno == errno.ENOSPC else "Choose a folder that you may write to."
        raise FormatError(f"{path} cannot be written ({reason}).", hint) from None
    return path


@contextmanager
def replacing(folder: Path, *below: str, private: bool = False) -> Iterator[BinaryIO]:
    """Give a new file, which takes its place when the block ends well, and is gone when it does not.

    Args:
        folder: A folder; see :func:`opened_folder`.
        below: Folders in it and the file's name.
        private: Whether only the owner may read the file, and enter folders that are made for it.

    Raises:
        FormatError: There is a link on the way or in the place of the file, or that is not a regular file.
        OSError: It cannot be written.
    """
    *between, name = below
    with opened_folder(folder, *between, make=0o700 if private and between else 0o777) as place:
        _replaceable(folder.joinpath(*below), name, place)
        part = f".memaudit-{secrets.token_hex(6)}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(part, flags, 0o600 if private else 0o666, dir_fd=place)
        try:
            with open(handle, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, name, src_dir_fd=place, dst_dir_fd=place)
        finally:
            with suppress(OSError):
                os.unlink(part, dir_fd=place)


def _replaceable(path: Path, name: str, place: int) -> None:
    with suppress(FileNotFoundError):
        mode = os.stat(name, dir_fd=place, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            raise _link(path)
        if not stat.S_ISREG(mode):
            raise FormatError(f"{path} is not a regular file.", "Name an ordinary file.")


@contextmanager
def opened_folder(folder: Path, *below: str, make: int = 0) -> Iterator[int]:
    """Give the descriptor of a folder, for ``dir_fd``.

    Args:
        folder: Entered without following links: as a whole where it lies in the current folder, else in its last part.
        below: Names of folders in it, entered likewise.
        make: Permissions of those that are not there; 0 to make none.

    Raises:
        FormatError: One of them is a link.
        OSError: One cannot be entered or made.
    """
    start, parts = _way(folder)
    if make:
        start.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        handle, path = os.open(start, _ENTER & ~os.O_NOFOLLOW), start
        stack.callback(os.close, handle)
        for part in (*parts, *below):
            path /= part
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, make, dir_fd=handle)
            try:
                handle = os.open(part, _ENTER, dir_fd=handle)
            except OSError as error:
                raise _link(path) if path.is_symlink() else error from None
            stack.callback(os.close, handle)
        yield handle


def _way(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return where a path is trusted, and the names after that."""
    whole, here = Path(os.path.abspath(path)), Path.cwd()
    start = here if whole.is_relative_to(here) else whole.parent
    return start, whole.relative_to(start).parts


def refuse_links(path: Path) -> None:
    """Refuse a path with a link in it, where :func:`opened_folder` would. Raises :class:`FormatError`."""
    found, parts = _way(path)
    for part in parts:
        found /= part
        if found.is_symlink():
            raise _link(found)


def shown(path: Path) -> str:
    """Return a path as it is written from the current folder, unless that is longer."""
    return min(os.path.relpath(path), str(path), key=len)


def _link(path: Path) -> FormatError:
    return FormatError(
        f"{shown(path)} is a link.", "Remove it, or name the place that it leads to: links are not followed."
    )


def own_file(folder: Path, name: str, flags: int) -> int:
    """Open a file that is changed in its place, made if it is not there, and return its descriptor.

    Raises:
        FormatError: It is not an ordinary file of this user's that has no other name.
        OSError: It cannot be opened.
    """
    path = folder / name
    with opened_folder(folder) as place:
        try:
            handle = os.open(name, flags | os.O_CREAT | _OPEN, 0o600, dir_fd=place)
        except OSError as error:
            raise _link(path) if path.is_symlink() else error from None
    try:
        _refuse(path, os.fstat(handle), changed=True)
    except BaseException:
        os.close(handle)
        raise
    return handle


def refuse_foreign(folder: Path, names: Iterable[str]) -> None:
    """Refuse links, pipes and files of other users among what memaudit wrote into a folder of its own.

    Args:
        folder: The folder.
        names: Of files and folders in it; what is in the folders is looked at too.

    Raises:
        FormatError: Naming the first that is found.
    """
    _refuse(folder, folder.stat())
    waiting = [folder / name for name in names]
    while waiting:
        path = waiting.pop()
        with suppress(FileNotFoundError):
            found = path.lstat()
            _refuse(path, found)
            waiting += sorted(path.iterdir()) if stat.S_ISDIR(found.st_mode) else []


def _refuse(path: Path, found: os.stat_result, changed: bool = False) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _link(path)
    if not (stat.S_ISREG(found.st_mode) or (stat.S_ISDIR(found.st_mode) and not changed)):
        raise FormatError(f"{path} is not a regular file.", "Remove it, or choose another folder.")
    if found.st_uid != os.geteuid():
        raise FormatError(f"{path} belongs to another user.", "Choose another folder.")
    if changed and found.st_nlink > 1:
        hint = "Remove it, or choose another folder."
        raise FormatError(f"{path} is a hard link: the file has another name too.", hint)
