"""What Python does while it is watched: files opened for writing, what is removed, made or run, and the network.

A hook cannot be taken off again, so there is one for the process, which listens while a watch is on. It sees no file
that a library written in another language opens; a test compares what lies around for those.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
RUNS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn")
PLACES = {
    "os.mkdir": ((0, 2),), "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),), "os.symlink": ((1, 2),), "os.truncate": ((0, None),), "os.chmod": ((0, 2),),
}  # fmt: skip
"""Where the arguments of an event hold a path, and the folder that it counts from."""


@dataclass
class Seen:
    """What happened: paths that were written, made or removed, programs, pickles, and events of the network."""

    paths: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    network: list[str] = field(default_factory=list)

    def outside(self, *allowed: Path) -> list[str]:
        """Return the paths that are in none of some folders."""
        folders = [os.path.realpath(folder) for folder in allowed]
        return [path for path in self.paths if not any(Path(path).is_relative_to(folder) for folder in folders)]


_watching: list[Seen] = []
_base: list[str] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    seen = _watching[-1]
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, str | bytes) and flags & WRITING:
            seen.paths.append(_whole(path, _base[-1] if _base else "."))
    elif event in PLACES:
        for at, folder in PLACES[event]:
            base = "." if folder is None or arguments[folder] in (-1, None) else _folder(arguments[folder])
            path = None if isinstance(arguments[at], int) else _whole(arguments[at], base)
            if path and not (event == "os.mkdir" and os.path.lexists(path)):  # then it makes none
                seen.paths.append(path)
    elif event in RUNS or event.startswith(("pickle.", "shutil.")):
        seen.programs.append(f"{event} {arguments[0]}")
    elif event != "socket.gethostname" and event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
        seen.network.append(f"{event} {arguments[1:]}")


def _whole(path: Any, base: str) -> str:
    whole = os.path.join(base, os.fsdecode(path))
    return os.path.join(os.path.realpath(os.path.dirname(whole) or "."), os.path.basename(whole))


def _folder(handle: int) -> str:
    return os.readlink(f"/proc/self/fd/{handle}")


def _opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """Open as :func:`os.open` does, whose event leaves out the folder."""
    if dir_fd is None:
        return _open(path, flags, mode)
    _base.append(_folder(dir_fd))
    try:
        return _open(path, flags, mode, dir_fd=dir_fd)
    finally:
        _base.pop()


_open = os.open
_hooked: list[bool] = []


@contextmanager
def watched() -> Iterator[Seen]:
    """Watch what this process does."""
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    seen = Seen()
    os.open = _opened
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.pop()
        os.open = _open
