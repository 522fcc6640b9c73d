"""Whether a saved state is this user's own: a run folder may have been written by a stranger.

A state is sealed with a key of the user's, which is made on first use and never leaves the machine: jobs carry keys
derived from it. The header of the file holds the digest of its tensors and the seal, which covers all of the header; so
nothing that a stranger wrote is read further than its header.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from ... import MemauditError

BLANK = {"digest": "0" * 64, "seal": "0" * 64}
"""What the header holds before it is sealed."""

HEADER_LIMIT = 10**8
"""Bytes; that of safetensors."""

SIZE = 32
"""Bytes of the key."""

_PLACE = {name: re.compile(rb'"%b":"([0-9a-f]{64})"' % name.encode()) for name in BLANK}


class SealError(MemauditError):
    """The user's key cannot be trusted."""


def key_file() -> Path:
    """Return where the user's key lies."""
    stated = os.environ.get("XDG_STATE_HOME", "")
    return (Path(stated) if os.path.isabs(stated) else Path.home() / ".local" / "state") / "memaudit" / "key"


def job_secret(job_key: str) -> bytes:
    """Return what seals the states of one job. Raises :class:`SealError`."""
    try:
        key = _user_key(key_file())
    except RuntimeError:  # a user without a home
        key = _passing_key()
    return hmac.digest(key, job_key.encode(), "sha256")


@cache
def _user_key(path: Path) -> bytes:
    """Return the user's key, made if there is none; where it cannot be kept, one for this process alone."""
    try:
        found = _read(path) if os.path.lexists(path) else None
        return found or _made(path)
    except OSError:
        return _passing_key()


@cache
def _passing_key() -> bytes:
    return secrets.token_bytes(SIZE)


def _read(path: Path) -> bytes:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise SealError(
            f"The key {path} is not a file that you alone may read.",
            "Delete it; the next scan makes another, and begins unfinished work anew.",
        )
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        key = file.read(SIZE + 1)
    if len(key) != SIZE:
        raise SealError(f"The key {path} is damaged.", "Delete it, then run the same command.")
    return key


def _made(path: Path) -> bytes:
    """Make the key, unless another process is faster, and return the one that is there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"key.{secrets.token_hex(6)}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(SIZE))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return _read(path)


def metadata(file: BinaryIO) -> Mapping[str, Any]:
    """Return the plain data in the header of a safetensors file.

    Raises:
        ValueError: It is none, or is not as long as its header says.
    """
    header = json.loads(_header(file))
    if not isinstance(header, dict) or not isinstance(found := header.pop("__metadata__", None), dict):
        raise ValueError("no plain data")
    end = max([0, *(int(entry["data_offsets"][1]) for entry in header.values())])
    if os.fstat(file.fileno()).st_size != file.tell() + end:
        raise ValueError("cut off")
    return found


def seal(file: BinaryIO, secret: bytes) -> None:
    """Seal a safetensors file whose metadata hold :data:`BLANK`."""
    header = _header(file)
    digest = _digest(file)
    header, _ = _with(header, "digest", digest)
    header, _ = _with(header, "seal", hmac.digest(secret, header, "sha256").hex())
    file.seek(8)
    file.write(header)


def genuine(file: BinaryIO, secret: bytes) -> bool:
    """Return whether a file was sealed with this secret, and is as it was then."""
    try:
        header, found = _with(_header(file), "seal", BLANK["seal"])
        _, digest = _with(header, "digest", BLANK["digest"])
    except ValueError:
        return False
    if not hmac.compare_digest(hmac.digest(secret, header, "sha256").hex(), found):
        return False
    return hmac.compare_digest(_digest(file), digest)


def _digest(file: BinaryIO) -> str:
    """Return the digest of what follows in a file."""
    found = hashlib.sha256()
    while part := file.read(2**20):
        found.update(part)
    return found.hexdigest()


def _header(file: BinaryIO) -> bytes:
    """Return the header of a safetensors file, and leave the file at its end."""
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    header = file.read(size) if size <= HEADER_LIMIT else b""
    if not header or len(header) < size:
        raise ValueError("no header")
    return header


def _with(header: bytes, name: str, value: str) -> tuple[bytes, str]:
    """Return a header with another value of a field, and the value that it had."""
    found = _PLACE[name].search(header)
    if found is None:
        raise ValueError(f"no {name}")
    return header[: found.start(1)] + value.encode() + header[found.end(1) :], found[1].decode()
