"""What the pickle in a torch file would make, counted before anything of it is made.

``torch.load(weights_only=True)`` runs no code, but it does what a pickle says: it reserves memory by numbers in the
file, and hashes what is nested without end, which ends the process. Here the same opcodes move stand-ins about, so that
the costs are known first; what cannot be followed to its end is never loaded.
"""

import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from mmap import mmap
from typing import Any

from .calls import BYTES, DICT, OTHER, Budget, Excess, List, Name, Tuple

MOST_DEEP = 100
"""Tuples in tuples; many more end the process when they are hashed."""

MOST_PARTS = 10**6
"""Parts of one tuple, counted as often as they occur in it: hashing takes a step for each."""

_STOP = ord(".")
_LONG = struct.Struct("<I")


def check_program(data: bytes | mmap, size: int, count: int = 1) -> dict[object, int]:
    """Walk through pickles that lie one after another.

    Args:
        data: What begins with them.
        size: Of the file that they are in, in bytes.
        count: How many there are.

    Returns:
        How many bytes each storage has that they ask for, by its key.

    Raises:
        Excess: They would fill more memory than a few times the file, or end the process.
        Foreign: They would call what no file of plain tensors calls.
        Exception: They are damaged.
    """
    walk = _Walk(data, Budget(size))
    for _ in range(count):
        walk.run()
    return walk.budget.storages


class _Walk:
    """One way through pickles, with stand-ins on the stack."""

    def __init__(self, data: bytes | mmap, budget: Budget) -> None:
        self.data = data
        self.at = 0
        self.budget = budget

    def run(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        data, size, spend = self.data, len(self.data), self.budget.spend
        while self.at < size:
            code = data[self.at]
            self.at += 1
            if code == _STOP:
                self.stack.pop()
                return
            if code not in _STEPS:
                raise ValueError("an opcode that torch does not read")
            cost, step = _STEPS[code]
            spend(cost)
            step(self)
        raise EOFError("it ends in the middle of a pickle")

    # Bytes

    def take(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise EOFError("it ends in the middle of a pickle")
        self.at += count
        return found

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self, form: struct.Struct) -> int:
        found: int = form.unpack(self.take(form.size))[0]
        return found

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise EOFError("it ends in the middle of a pickle")
        found, self.at = self.data[self.at : end], end + 1
        return found.decode()

    def text(self) -> None:
        self.stack.append(str(self.take(self.budget.spend(self.number(_LONG))), "utf-8", "surrogatepass"))

    def long(self) -> None:
        self.stack.append(int.from_bytes(self.take(self.byte()), "little", signed=True))

    def short_bytes(self) -> None:
        self.take(self.byte())
        self.stack.append(BYTES)

    def skip(self, count: int, value: Any) -> None:
        self.take(count)
        self.stack.append(value)

    # The stack

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        found, self.stack = self.stack, self.marks.pop()
        return found

    def last(self, count: int) -> list[Any]:
        found = self.stack[-count:]
        if len(found) < count:
            raise IndexError("a stack that is too short")
        del self.stack[-count:]
        return found

    def group(self, items: list[Any]) -> None:
        depth, parts = 1, self.budget.spend(1 + len(items))
        for item in items:
            if type(item) is Tuple:
                depth, parts = max(depth, 1 + item.depth), parts + item.parts
        if depth > MOST_DEEP or parts > MOST_PARTS:
            raise Excess(f"holds values nested more than {MOST_DEEP} deep, or one of more than {MOST_PARTS:,} parts")
        self.stack.append(Tuple(tuple(items), depth, parts))

    def add(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not List:
            raise ValueError("something added to what is no list")
        self.budget.spend(8 * len(items))
        target.parts += sum(map(_parts, items))

    def set(self, items: list[Any]) -> None:
        if self.stack[-1] is not DICT:
            raise ValueError("a key in what is no dictionary")
        self.budget.keys += len(items) // 2
        for key in items[::2]:
            self.budget.spend(100 * _parts(key))

    def put(self, at: int) -> None:
        self.memo[at] = self.stack[-1]

    # Names and calls

    def name(self) -> None:
        module, name = self.line(), self.line()
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        self.stack.append(Name(f"{module}.{name}"))

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self.budget.call(function, arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        self.budget.build(target, state)


def _parts(value: Any) -> int:
    """Return how many steps it takes to hash a value; of integers beyond, any number hash alike."""
    if type(value) is int and abs(value) >= 2**61 - 1:
        raise Excess("holds numbers that no training script writes")
    if type(value) is Tuple:
        sum(_parts(item) for item in value.items if type(item) is int)
    return value.parts if type(value) in (Tuple, List) else 1


def _pushing(value: Any, count: int = 0) -> Callable[[_Walk], None]:
    return lambda walk: walk.skip(count, value)


def _reading(form: struct.Struct) -> Callable[[_Walk], None]:
    return lambda walk: walk.stack.append(walk.number(form))


_STEPS: dict[int, tuple[int, Callable[[_Walk], Any]]] = {
    ord(code): (cost, step)
    for code, cost, step in (
        ("c", 50, _Walk.name),
        ("R", 0, _Walk.call),
        ("\x81", 0, _Walk.call),  # NEWOBJ
        ("b", 0, _Walk.build),
        ("Q", 500, lambda walk: walk.stack.append(walk.budget.storage(walk.stack.pop()))),
        ("a", 10, lambda walk: walk.add([walk.stack.pop()])),
        ("e", 10, lambda walk: walk.add(walk.since_mark())),
        ("s", 0, lambda walk: walk.set(walk.last(2))),
        ("u", 0, lambda walk: walk.set(walk.since_mark())),
        ("(", 100, _Walk.mark),
        ("t", 60, lambda walk: walk.group(walk.since_mark())),
        ("\x85", 60, lambda walk: walk.group(walk.last(1))),
        ("\x86", 60, lambda walk: walk.group(walk.last(2))),
        ("\x87", 60, lambda walk: walk.group(walk.last(3))),
        ("N", 8, _pushing(None)),
        ("\x88", 8, _pushing(True)),
        ("\x89", 8, _pushing(False)),
        (")", 8, lambda walk: walk.group([])),
        ("]", 80, lambda walk: walk.stack.append(List())),
        ("}", 80, _pushing(DICT)),
        ("\x8f", 250, _pushing(DICT)),  # EMPTY_SET
        ("J", 40, _reading(struct.Struct("<i"))),
        ("K", 8, lambda walk: walk.stack.append(walk.byte())),
        ("M", 40, _reading(struct.Struct("<H"))),
        ("G", 40, _pushing(OTHER, 8)),
        ("X", 80, _Walk.text),
        ("U", 60, _Walk.short_bytes),
        ("h", 8, lambda walk: walk.stack.append(walk.memo[walk.byte()])),
        ("j", 8, lambda walk: walk.stack.append(walk.memo[walk.number(_LONG)])),
        ("q", 80, lambda walk: walk.put(walk.byte())),
        ("r", 80, lambda walk: walk.put(walk.number(_LONG))),
        ("\x8a", 40, _Walk.long),
        ("\x80", 0, lambda walk: walk.take(1)),
    )
}
"""The opcodes that torch reads: what each costs in bytes, and what it does."""
