"""Archives of NumPy arrays, such as the rounds that federated learning saves: numbers by name, never objects."""

import math
from collections.abc import Collection
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from torch import Tensor

from . import inert
from .archive import doubtful
from .calls import Excess

_FREE, _TIMES = 2**29, 8
"""Bytes that any archive may unpack to, and how many times its own size besides."""

_NUMBERED = "arr_"
"""What NumPy calls arrays that were saved without a name."""


def is_npz(file: Path) -> bool:
    """Return whether a file is an archive of arrays. Raises errors of any type for a damaged archive."""
    with ZipFile(file) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def load_npz(file: Path) -> dict[str, Tensor]:
    """Return the arrays of numbers by name.

    Raises:
        Excess: They claim more than is there, or one of them does not hold numbers.
        Exception: The archive is damaged.
    """
    with ZipFile(file) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > _FREE + _TIMES * file.stat().st_size:
            raise Excess("unpacks to far more than its size")
        if reason := doubtful(file, entries):
            raise Excess(f"is an archive {reason}")
        return {entry.filename.removesuffix(".npy"): _read(archive, entry) for entry in entries}


def _read(archive: ZipFile, entry: ZipInfo) -> Tensor:
    with archive.open(entry) as stream:
        version = npy.read_magic(stream)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, kind = header(stream)
        if kind.hasobject or kind.kind not in "biuf":
            raise Excess(f"holds {entry.filename[:100]!r}, which is no array of numbers")
        if math.prod(shape) * kind.itemsize > entry.file_size:
            raise Excess("claims larger arrays than there are bytes in it")
        stream.seek(0)
        found = npy.read_array(stream, allow_pickle=False)
    made = inert.tensor(np.asarray(found))
    if made is None:
        raise Excess(f"holds {entry.filename[:100]!r}, whose numbers torch does not have")
    return made


def is_numbered(names: Collection[str]) -> bool:
    """Return whether arrays are known by their order alone, as ``numpy.savez`` saves a list."""
    return bool(names) and all(name.startswith(_NUMBERED) for name in names)
