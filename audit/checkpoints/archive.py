"""The archive that torch.save writes, judged by what its table of contents says; nothing is unpacked here.

There are many readers of zip files. An archive is refused wherever two of them could see two different ones.
"""

import struct
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from ..plugins import one_line
from .refusal import AGAIN, WEIGHTS_ONLY, CheckpointError

_END = struct.Struct("<4s4H2LH")
_FULL = 2**32 - 1
"""Stands for a number that is told in 64 bits elsewhere."""


def check_archive(file: Path) -> Mapping[str, int]:
    """Return the sizes of what is in an archive, unpacked, by name.

    Raises:
        CheckpointError: Damaged, no archive of torch.save, one that unpacks to far more than its size, or one that
            readers understand differently.
    """
    try:
        with ZipFile(file) as archive:
            entries, start = archive.infolist(), archive.start_dir
            doubtful = _doubtful(file, start) or _ambiguous(entries)
    except Exception as error:  # damaged bytes may fail in any way
        raise CheckpointError(f"{file} is a damaged or truncated archive ({one_line(error)}).", AGAIN) from error
    names = {PurePosixPath(entry.filename).name for entry in entries}
    if "constants.pkl" in names:
        raise CheckpointError(f"{file} is a TorchScript program, which memaudit does not run.", WEIGHTS_ONLY)
    if "data.pkl" not in names:
        raise CheckpointError(f"{file} is an archive, but not one that torch.save wrote.", WEIGHTS_ONLY)
    if sum(entry.file_size for entry in entries) > 2 * file.stat().st_size:
        raise CheckpointError(f"{file} unpacks to far more than its size, as torch.save never does.", WEIGHTS_ONLY)
    if doubtful:
        raise CheckpointError(f"{file} is an archive {doubtful}, as torch.save never writes one.", WEIGHTS_ONLY)
    return {entry.filename.partition("/")[2]: entry.file_size for entry in entries}


def _doubtful(file: Path, start: int) -> str:
    """Say what is odd about the end of an archive whose table of contents Python reads from ``start``."""
    with file.open("rb") as stream:
        stream.seek(-min(_END.size, file.stat().st_size), 2)
        mark, *_, size, offset, comment = _END.unpack(stream.read())
        if mark != b"PK\5\6" or comment:
            return "with something behind its end"
        stream.seek(-min(_END.size + 20, file.stat().st_size), 2)
        wide = stream.read(4) == b"PK\6\7"
    if wide and offset == _FULL:
        return ""  # Python has read the wide table, as torch does
    end = file.stat().st_size - _END.size - (76 if wide else 0)
    return "" if offset == start and start + size == end else "of two tables of contents"


def _ambiguous(entries: list[ZipInfo]) -> str:
    if len({entry.filename.lower() for entry in entries}) < len(entries):
        return "with two files of one name"
    if any(entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for entry in entries):
        return "that is packed in another way"
    tops = {entry.filename.partition("/")[0] for entry in entries}
    return "of several folders" if len(tops) > 1 else ""
