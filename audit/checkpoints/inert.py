"""Mere data of other libraries in torch files: options, paths, times, NumPy's arrays and numbers.

Nothing of those libraries is called: ``torch.load`` is given what is here in the place of their classes.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta, timezone
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

_VALUE = re.compile(r"[biuf][1248]|[SU]\d{1,9}")
"""Types of NumPy's whose values are read: truth values, integers, floats, bytes and text."""


class Fields(dict[str, Any]):
    """Attributes by name, of an object that is nothing else: ``argparse.Namespace``."""

    def __setstate__(self, state: object) -> None:
        """Take what was saved. Raises :class:`ValueError` for anything but attributes."""
        if not isinstance(state, dict):
            raise ValueError("attributes that are none")
        self.update(state)


class Kind:
    """A NumPy type, by its code such as ``f4`` and its byte order."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code, self.order = str(code), "|"

    def __setstate__(self, state: Sequence[object]) -> None:
        """Take the byte order from what was saved."""
        self.order = str(state[1])

    def numpy(self) -> "np.dtype[Any] | None":
        """Return the type, None for one whose values are not read."""
        return np.dtype(self.order.strip("|") + self.code) if _VALUE.fullmatch(self.code) else None


class Array:
    """A NumPy array: bytes, type and shape, from which it is made when it is asked for."""

    def __init__(self, *_: object) -> None:
        self.shape: tuple[int, ...] = ()
        self.kind, self.columns, self.data = Kind(), False, b""

    def __setstate__(self, state: Sequence[Any]) -> None:
        """Take shape, type, order and bytes from what was saved. Raises :class:`ValueError` for anything else."""
        _, self.shape, self.kind, self.columns, self.data = state
        if not isinstance(self.data, bytes) or not isinstance(self.kind, Kind):
            raise ValueError("an array that is none")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "np.ndarray[Any, Any]":
        """Return the array, read-only. Raises :class:`ValueError` for other values than numbers and text."""
        kind = self.kind.numpy()
        if kind is None:
            raise ValueError(f"an array of type {self.kind.code!r}")
        found = np.frombuffer(self.data, kind).reshape(self.shape, order="F" if self.columns else "C")
        return found if dtype is None else found.astype(dtype)


def tensor(array: "Array | np.ndarray[Any, Any]") -> Tensor | None:
    """Return an array as a tensor over the same bytes, None where torch has no such type: text, for example."""
    try:
        with warnings.catch_warnings(action="ignore"):  # nobody writes to it
            return torch.from_numpy(np.asarray(array))
    except (TypeError, ValueError):
        return None


def _number(kind: object = None, data: object = b"") -> object:
    form = kind.numpy() if isinstance(kind, Kind) else None
    return np.frombuffer(data, form)[0].item() if form and isinstance(data, bytes) else None


def _posix(*parts: str) -> str:
    return str(PurePosixPath(*parts))


def _windows(*parts: str) -> str:
    return str(PureWindowsPath(*parts))


def _mapping(*_: object) -> dict[Any, Any]:
    return {}


def _nothing(*_: object) -> None:
    return None


def _no_bytes(*_: object) -> bytes:
    return b""


NAMESPACES = ("argparse.Namespace", "types.SimpleNamespace")
DEFAULTS = ("collections.defaultdict",)
FACTORIES = tuple(f"builtins.{kind}" for kind in ("list", "dict", "int", "float", "str", "bool", "tuple"))
"""What a ``defaultdict`` makes; named and never called."""

PATHS = tuple(
    f"{module}.{kind}"
    for module in ("pathlib", "pathlib._local")
    for kind in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
)
TIMES = tuple(f"datetime.{kind}" for kind in ("date", "datetime", "time", "timedelta", "timezone"))
NO_BYTES = "builtins.bytes"
"""Empty ones; others are written in another way."""

ARRAY, KIND = "numpy.ndarray", "numpy.dtype"
ARRAYS = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
NUMBERS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")

STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    *((Fields, name) for name in NAMESPACES),
    *((_mapping, name) for name in DEFAULTS),
    *((_nothing, name) for name in FACTORIES),
    *((_windows if "Windows" in name else _posix, name) for name in PATHS),
    *zip((date, datetime, time, timedelta, timezone), TIMES, strict=True),
    (_no_bytes, NO_BYTES),
    (Array, ARRAY),
    (Kind, KIND),
    *((Array, name) for name in ARRAYS),
    *((_number, name) for name in NUMBERS),
]
"""What stands for each class and function, as ``torch.serialization.safe_globals`` takes it."""

NAMES = frozenset((*NAMESPACES, *DEFAULTS, *FACTORIES, *PATHS, *TIMES, NO_BYTES, ARRAY, KIND, *ARRAYS, *NUMBERS))
