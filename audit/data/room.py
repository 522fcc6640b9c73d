"""Room for images: in memory, or in a file that is gone when nobody needs it any more."""

import math
import shutil
import tempfile
from collections.abc import Sequence

import numpy as np

from .preparation import Pixels
from .records import DataError

IN_MEMORY = 2**30
"""Bytes from which images lie in a file: what is read of it can leave the memory again."""


def room(spec: str, shape: Sequence[int]) -> Pixels:
    """Return an array for float32 images (m, c, h, w) of a set.

    Raises:
        DataError: There is no such room on the disk.
    """
    size = math.prod(shape) * 4
    if size < IN_MEMORY:
        return np.empty(shape, np.float32)
    try:
        if shutil.disk_usage(tempfile.gettempdir()).free < 1.1 * size:
            raise OSError("it is too full")
        with tempfile.TemporaryFile() as file:  # the mapping keeps it for as long as it lives
            file.truncate(size)
            return np.memmap(file, np.float32, "r+", shape=tuple(shape))
    except OSError as error:
        raise DataError(
            f"{spec!r} needs {size / 2**30:.1f} GiB in {tempfile.gettempdir()} while it is looked at ({error}).",
            "Make room there, name another place in the variable TMPDIR, or give a part of the records.",
        ) from None
