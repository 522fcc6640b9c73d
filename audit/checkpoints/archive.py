"""The archive that torch.save writes, judged by its table of contents: nothing is unpacked here.

There are many readers of zip files. An archive is refused wherever two of them could see two different ones.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from .calls import Excess

_WIDE, _LINK, _END = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL"), struct.Struct("<4s4H2LH")
"""What ends an archive: the first two only where numbers of 64 bits may be needed."""

_FULL = (2**16 - 1, 2**32 - 1)
"""Stand for a number that is told in 64 bits."""


def check_archive(file: Path) -> Mapping[str, int]:
    """Return the sizes of what is in an archive, unpacked, by the name in its one folder.

    Raises:
        Excess: It unpacks to far more than its size, or is none that torch.save wrote.
        Exception: It is damaged.
    """
    size = file.stat().st_size
    with ZipFile(file) as archive:
        entries = archive.infolist()
    names = {PurePosixPath(entry.filename).name for entry in entries}
    if "constants.pkl" in names:
        raise Excess("is a TorchScript program, which memaudit does not run")
    if "data.pkl" not in names:
        raise Excess("is an archive, but not one that torch.save wrote")
    if sum(entry.file_size for entry in entries) > 2 * size:
        raise Excess("unpacks to far more than its size, as torch.save never does")
    if reason := doubtful(file, entries) or _unlike_torch(entries):
        raise Excess(f"is an archive {reason}, as torch.save never writes one")
    return {entry.filename.partition("/")[2]: entry.file_size for entry in entries}


def doubtful(file: Path, entries: Sequence[ZipInfo]) -> str:
    """Say why readers could see two different archives in a file: empty where they see one."""
    if len({entry.filename.lower() for entry in entries}) < len(entries):
        return "with two files of one name"
    size = file.stat().st_size
    with file.open("rb") as stream:
        stream.seek(max(0, size - _END.size - _LINK.size - _WIDE.size))
        tail = stream.read().rjust(_END.size + _LINK.size + _WIDE.size, b"\0")
    mark, _, _, _, count, length, offset, comment = _END.unpack(tail[-_END.size :])
    if mark != b"PK\5\6" or comment:
        return "with something behind its end"
    end = size - _END.size
    link, _, place, _ = _LINK.unpack(tail[_WIDE.size : -_END.size])
    if link == b"PK\6\7":
        end -= _LINK.size + _WIDE.size
        wide, _, _, _, _, _, _, *told = _WIDE.unpack(tail[: _WIDE.size])
        if wide != b"PK\6\6" or place != end or not _same((count, length, offset), told):
            return "of two tables of contents"
        _, length, offset = told
    return "" if offset + length == end else "of two tables of contents"


def _same(short: Sequence[int], long: Sequence[int]) -> bool:
    return all(a == b or a in _FULL for a, b in zip(short, long, strict=True))


def _unlike_torch(entries: Sequence[ZipInfo]) -> str:
    if any(entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for entry in entries):
        return "that is packed in another way"
    return "of several folders" if len({entry.filename.partition("/")[0] for entry in entries}) > 1 else ""
