"""A lock on a run folder: the kernel releases it when its holder ends, however it ends."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ... import MemauditError
from ..files import own_file

NAME = "lock"
"""File in the run folder that is locked; it names the holder, and stays."""


_WITHOUT = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems without locks answer: work continues there without one."""


class LockError(MemauditError):
    """Another process works in this run folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process out of a folder.

    Raises:
        LockError: Another one holds it.
        FormatError: The folder or the file in it is a link, or belongs to another user.
        OSError: The folder cannot be written to.
    """
    try:
        handle = own_file(folder, NAME, os.O_RDWR)
    except (IsADirectoryError, PermissionError) as error:
        raise LockError(
            f"The run folder {folder} cannot be locked ({NAME}: {error.strerror}).", "Choose another with --out."
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
            raise LockError(
                f"{holder} is at work in the run folder {folder}.", "Wait for it, or choose another folder with --out."
            ) from None
        except OSError as error:
            if error.errno not in _WITHOUT:
                raise
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"Process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
