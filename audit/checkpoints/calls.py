"""What a pickle in a torch file calls, and what each call costs, on stand-ins: nothing is made."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from . import inert

MOST_DIMENSIONS = 64
"""Of a tensor, as torch has it."""

_FREE, _TIMES = 2**29, 8
"""Bytes that any file may fill, and how many times its own size it may fill besides."""

_KINDS = {
    1: "Byte Char Bool Untyped QInt8 QUInt8 QUInt4x2 QUInt2x4",
    2: "Short Half BFloat16",
    4: "Int Float QInt32",
    8: "Long Double ComplexFloat",
    16: "ComplexDouble",
}
_WIDTHS = {kind: width for width, kinds in _KINDS.items() for kind in kinds.split()}
"""Bytes of one value in each kind of storage."""

_UNUSUAL = "makes a tensor in no way that torch.save does"
_LARGER = "claims larger tensors than there are bytes in it"


class Excess(Exception):
    """The pickle would make more than its file accounts for; the text goes on after the file's name."""


class Foreign(Exception):
    """The pickle would call what no file of plain tensors calls; the text is its full name."""


@dataclass(slots=True)
class Tuple:
    """A tuple: how deep tuples are nested in it, and how many parts they have in all."""

    items: tuple[Any, ...]
    depth: int
    parts: int


@dataclass(slots=True)
class List:
    """A list: how many steps it takes to hash all that is in it."""

    parts: int = 1


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function, by its full name."""

    full: str


@dataclass(frozen=True, slots=True)
class _Storage:
    count: int
    width: int


DICT, TENSOR, BYTES, OTHER, ARRAY, KIND = (
    Name(kind) for kind in ("a dictionary", "a tensor", "bytes", "a value", "an array", "a type of numbers")
)
"""What is known by its kind alone."""


class Budget:
    """What a file may still cost.

    Args:
        size: Of the file, in bytes.

    Attributes:
        storages: Bytes of each storage that was asked for, by its key.
        keys: How many keys were put into dictionaries, all together.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = _FREE + _TIMES * size
        self.storages: dict[object, int] = {}
        self.stored = 0
        self.keys = 0

    def spend(self, count: int) -> int:
        """Count ``count`` bytes or steps, and return them. Raises :class:`Excess`."""
        self.left -= count
        if self.left < 0:
            raise Excess("would fill many times its own size of memory")
        return count

    def call(self, function: Any, arguments: Any) -> Any:
        """Return the stand-in of what a call makes. Raises :class:`Excess` and :class:`Foreign`."""
        if type(function) is not Name or function.full not in _CALLS or type(arguments) is not Tuple:
            raise Foreign(function.full if type(function) is Name else "what is no function")
        cost, make = _CALLS[function.full]
        self.spend(cost)
        return make(self, arguments.items)

    def storage(self, told: Tuple) -> _Storage:
        """Return the storage that a persistent id names; torch reserves what it claims."""
        _, kind, key, _, count, *view = told.items
        width = _WIDTHS.get(kind.full.rpartition(".")[2].removesuffix("Storage"), 0)
        if not width or type(key) not in (str, int) or type(count) is not int or count < 0:
            raise Excess("names a storage in no way that torch.save does")
        found = count * width
        if key not in self.storages:
            self.storages[key] = found
            self.stored += found
        if found > self.storages[key] or self.stored > self.size:
            raise Excess(_LARGER)
        if view and view[0] is not None:
            _, start, length = view[0].items
            count = max(0, min(length, count - max(0, start)))
        return _Storage(count, width)

    def view(self, items: tuple[Any, ...], width: int = 0) -> Name:
        """Check that a tensor lies within its storage: torch makes the storage larger where it does not."""
        storage, offset, size, stride, *_ = items
        shape, steps = _integers(size), _integers(stride)
        if type(storage) is not _Storage or type(offset) is not int or offset < 0 or len(shape) != len(steps):
            raise Excess(_UNUSUAL)
        if len(shape) > MOST_DIMENSIONS:
            raise Excess(f"holds a tensor of {len(shape)} dimensions, and {MOST_DIMENSIONS} is the most")
        end = 0 if 0 in shape else offset + 1 + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
        if end * (width or storage.width) > storage.count * storage.width:
            raise Excess(_LARGER)
        return TENSOR

    def typed_view(self, items: tuple[Any, ...]) -> Name:
        """Check a tensor whose elements are told apart from its storage."""
        return self.view(items, getattr(torch, items[6].full.rpartition(".")[2]).itemsize)

    def quantised(self, items: tuple[Any, ...]) -> Name:
        """Check a quantised tensor, which is made in full."""
        if math.prod(_integers(items[2])) > items[0].count:
            raise Excess(_LARGER)
        return self.view(items)

    def of_type(self, items: tuple[Any, ...]) -> Any:
        """Check what calls another function first."""
        return self.call(items[0], items[2])

    def hashed(self, items: tuple[Any, ...]) -> Name:
        """Check what a set, a counter or a dictionary is made of: only what has a length that is known."""
        for item in items:
            if type(item) not in (List, Tuple) and item is not DICT:
                raise Foreign("a dictionary of something else than a list")
            self.spend(100 * getattr(item, "parts", 1))
        return DICT

    def shape(self, items: tuple[Any, ...]) -> Tuple:
        """Check a shape, which is a tuple of another name."""
        if len(items) != 1 or type(items[0]) is not Tuple:
            raise Excess(_UNUSUAL)
        return items[0]

    def array(self, items: tuple[Any, ...]) -> Name:
        """Check an array of bytes: a number would be its length."""
        if items and type(items[0]) is int:
            self.spend(abs(items[0]))
        elif items and type(items[0]) is not str and items[0] is not BYTES:
            raise Foreign("builtins.bytearray")
        return BYTES

    def no_bytes(self, items: tuple[Any, ...]) -> Name:
        """Check bytes that are empty: a number would be their length."""
        if items:
            raise Foreign(inert.NO_BYTES)
        return BYTES

    def encoded(self, items: tuple[Any, ...]) -> Name:
        """Check bytes that are written as text: other encodings may take time without end."""
        if len(items) != 2 or type(items[0]) is not str or items[1] not in ("latin1", "latin-1", "utf-8", "utf8"):
            raise Foreign("_codecs.encode")
        self.spend(len(items[0]))
        return BYTES

    def plain(self, items: tuple[Any, ...]) -> Name:
        """Check a value that is made of numbers and words."""
        if any(type(item) not in (int, str, bool, Name) for item in items):
            raise Foreign("a value of something else than numbers and words")
        return OTHER

    def build(self, target: Any, state: Any) -> None:
        """Check what is told of a value after it was made. Raises :class:`Excess` and :class:`Foreign`."""
        if target is TENSOR and type(state) is Tuple:  # as torch saved them before version 0.2
            self.view(state.items)
        elif target is DICT:
            self.spend(100 * self.keys)  # its attributes are copied, whichever dictionary they are in
        elif target is ARRAY and type(state) is Tuple and len(state.items) == 5:
            _, shape, kind, _, data = state.items
            _integers(shape)
            if kind is not KIND or data is not BYTES:
                raise Foreign("an array of objects")
        elif target is not KIND or type(state) is not Tuple:
            raise Foreign("__setstate__")

    def fields(self, items: tuple[Any, ...]) -> Name:
        """Check an object of attributes, or a dictionary with a default: they begin empty."""
        if any(type(item) is not Name or item.full not in (*_CALLS, *inert.FACTORIES) for item in items):
            raise Foreign("attributes of something else than a dictionary")
        return DICT

    def path(self, items: tuple[Any, ...]) -> str:
        """Check a path, which is made of texts."""
        if any(type(item) is not str for item in items):
            raise Foreign("a path of something else than text")
        joined = "/".join(items)
        self.spend(len(joined))
        return joined

    def moment(self, items: tuple[Any, ...]) -> Name:
        """Check a date, a time or a duration, which is made of numbers and a few bytes."""
        if any(type(item) is not int and item not in (BYTES, OTHER) for item in items):
            raise Foreign("a time of something else than numbers")
        return OTHER

    def kind(self, items: tuple[Any, ...]) -> Name:
        """Check a type of NumPy's, which is made of its code."""
        if not items or any(type(item) not in (int, str, bool) for item in items):
            raise Foreign("a type of something else than its code")
        return KIND

    def numpy(self, items: tuple[Any, ...]) -> Name:
        """Check an array of NumPy's, which begins empty."""
        if not items or items[0] != Name(inert.ARRAY):
            raise Foreign("an array of a class of its own")
        return ARRAY

    def number(self, items: tuple[Any, ...]) -> Name:
        """Check a number of NumPy's, which is made of its bytes."""
        if len(items) != 2 or items[0] is not KIND or items[1] is not BYTES:
            raise Foreign("a number of something else than bytes")
        return OTHER

    def tensor(self, items: tuple[Any, ...]) -> Name:
        """Check a parameter around a tensor."""
        if not items or items[0] not in (TENSOR, OTHER):
            raise Excess(_UNUSUAL)
        return TENSOR

    def empty(self, items: tuple[Any, ...]) -> Name:
        """Return a tensor that is refused later: one without values, or a sparse one."""
        return OTHER


def _integers(value: Any) -> tuple[int, ...]:
    found: tuple[Any, ...] = value.items if type(value) is Tuple else (None,)
    if any(type(item) is not int or not 0 <= item < 2**63 for item in found):
        raise Excess(_UNUSUAL)
    return found


_CALLS: dict[str, tuple[int, Callable[[Budget, tuple[Any, ...]], Any]]] = {
    "collections.OrderedDict": (400, Budget.hashed),
    "collections.Counter": (400, Budget.hashed),
    "builtins.set": (400, Budget.hashed),
    "builtins.bytearray": (100, Budget.array),
    "builtins.complex": (40, Budget.plain),
    "_codecs.encode": (100, Budget.encoded),
    "torch.device": (100, Budget.plain),
    "torch.serialization._get_layout": (40, Budget.plain),
    "torch.Size": (100, Budget.shape),
    "torch.nn.parameter.Parameter": (1500, Budget.tensor),
    "torch._utils._rebuild_parameter": (1500, Budget.tensor),
    "torch._utils._rebuild_parameter_with_state": (1500, Budget.tensor),
    "torch._utils._rebuild_tensor": (1500, Budget.view),
    "torch._utils._rebuild_tensor_v2": (1500, Budget.view),
    "torch._utils._rebuild_tensor_v3": (1500, Budget.typed_view),
    "torch._utils._rebuild_qtensor": (3000, Budget.quantised),
    "torch._utils._rebuild_sparse_tensor": (3000, Budget.empty),
    "torch._utils._rebuild_meta_tensor_no_storage": (1500, Budget.empty),
    "torch._tensor._rebuild_from_type_v2": (1500, Budget.of_type),
    **dict.fromkeys((*inert.NAMESPACES, *inert.DEFAULTS), (400, Budget.fields)),
    **dict.fromkeys(inert.PATHS, (1000, Budget.path)),
    **dict.fromkeys(inert.TIMES, (200, Budget.moment)),
    **dict.fromkeys(inert.ARRAYS, (1000, Budget.numpy)),
    **dict.fromkeys(inert.NUMBERS, (1000, Budget.number)),
    inert.KIND: (500, Budget.kind),
    inert.NO_BYTES: (40, Budget.no_bytes),
}
"""What files of plain tensors call: what it costs, and its stand-in."""
