"""What a torch file holds, whatever that is: it passes ``torch.load(weights_only=True)`` or is refused."""

import gc
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ
from mmap import mmap as mapped
from pathlib import Path
from typing import TypeVar

import torch

from ..plugins import one_line
from . import inert
from .archive import check_archive
from .calls import Excess, Foreign
from .program import check_program
from .refusal import AGAIN, WEIGHTS_ONLY, CheckpointError, quoted

_Stored = TypeVar("_Stored")

_OLD = 5
"""Pickles in the format before version 1.6: a mark, a version, a machine, what was saved, and keys of storages."""


def unpack(file: Path, mmap: bool = False) -> object:
    """Return what a torch file holds, whatever that is; nothing in it is executed.

    Args:
        file: As ``torch.save`` wrote it.
        mmap: Leave tensors in the file until they are used; such a file must be an archive.

    Raises:
        CheckpointError: Damaged, or unsafe.
        OSError: It cannot be opened.
    """
    try:
        with _uncollected(), warnings.catch_warnings(action="ignore"):  # of old formats, which no user can act on
            _check_costs(file)
            with torch.serialization.safe_globals(inert.STAND_INS):
                return torch.load(file, map_location=_as_read, weights_only=True, mmap=mmap)
    except (FileNotFoundError, PermissionError, CheckpointError):
        raise
    except Excess as error:
        raise CheckpointError(f"{file} {error}.", WEIGHTS_ONLY) from error
    except Exception as error:  # damaged bytes may fail in any way
        raise _refusal(file, error) from error


def _as_read(storage: _Stored, place: str) -> _Stored:
    """Leave a storage in memory, wherever it was saved from: quicker than naming the device for each of thousands."""
    return storage


@contextmanager
def _uncollected() -> Iterator[None]:
    """Make many objects without looking for cycles among them again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _check_costs(file: Path) -> None:
    """Follow what loading a torch file would do, on stand-ins. Raises :class:`Excess`, and others if it is damaged."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(4)
        if head == b"PK\3\4":
            sizes = check_archive(file)
            pickle = torch._C.PyTorchFileReader(str(file)).get_record("data.pkl")
            for key, count in check_program(pickle, size).items():
                if count > sizes.get(f"data/{key}", 0):
                    raise Excess("claims larger tensors than there are bytes in it")
        elif head.startswith(b"\x80"):
            with mapped(stream.fileno(), 0, access=ACCESS_READ) as content:
                check_program(content, size, count=_OLD)
        else:
            raise CheckpointError(
                f"{file} is not a checkpoint.", "Pass a .safetensors file or one that torch.save wrote."
            )


def _refusal(file: Path, error: Exception) -> CheckpointError:
    blocked = set(re.findall(r"GLOBAL ([\w.]+)", str(error)))
    with suppress(Exception):  # names all of them, but only in undamaged files of one of the two torch formats
        blocked |= set(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    blocked = blocked - inert.NAMES | ({str(error)} if isinstance(error, Foreign) else set())
    if blocked:
        return CheckpointError(
            f"{file} holds more than tensors: it would run {quoted(sorted(blocked))}, which memaudit never does.",
            WEIGHTS_ONLY,
        )
    reason = re.search(r"WeightsUnpickler error:\s*(\S.*)", str(error))  # the rest of the text advises unsafe loading
    if reason:
        return CheckpointError(f"{file} is not a file of plain tensors ({reason[1].strip()[:200]!r}).", WEIGHTS_ONLY)
    return CheckpointError(f"{file} is damaged or truncated ({one_line(error)}).", AGAIN)
