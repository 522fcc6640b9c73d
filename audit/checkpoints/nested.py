"""The state dict in what a torch file holds, wherever it is nested."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor

from . import inert

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "module", "params", "weights")
"""Keys under which training scripts put the state dict, in the order in which they are tried."""

_AVERAGE = re.compile(r"(.*_)?(ema|swa|averaged?|teacher)(_.*)?", re.IGNORECASE)
"""Keys of averaged copies, which only count where the weights themselves are absent."""

_BESIDE = re.compile(r"(.*_)?(optim\w*|sched\w*|scaler|rng\w*|callbacks|loops)(_.*)?", re.IGNORECASE)
"""Keys of what training needs to go on, in which tensors are no weights."""

_DEEPEST = 20
"""Mappings in mappings, at most, that are looked into."""

_SMALL = 100
"""Tensors with fewer than this share of the largest state dict's numbers are facts beside it, such as class weights."""

Tensors = dict[str, Tensor]


def state_dicts(loaded: object) -> dict[str, Tensors]:
    """Return the mappings of tensors that may be the state dict, by their path such as ``trainer/net``.

    One where it is clear: by the keys that training scripts use, by being the only one, or by being no average; the
    path of what is the state dict itself is empty. None where there are no tensors.
    """
    found = dict(_mappings(loaded))
    usual = [path for path in found if path and all(key in WRAPPERS for key in path)]
    if usual:
        first = min(usual, key=lambda path: [WRAPPERS.index(key) for key in path])
        return {"/".join(first): found[first]}
    plain = {path: tensors for path, tensors in found.items() if not any(map(_AVERAGE.fullmatch, path))} or found
    largest = max(map(_numbers, plain.values()), default=0)
    return {"/".join(path): tensors for path, tensors in plain.items() if _numbers(tensors) * _SMALL >= largest}


def at(loaded: object, key: str) -> Tensors | None:
    """Return the tensors under a path such as ``trainer/net``, None where there are none."""
    return next((tensors for path, tensors in _mappings(loaded) if "/".join(path) == key), None)


def _mappings(loaded: object) -> Iterator[tuple[tuple[str, ...], Tensors]]:
    """Find every mapping of names to tensors, the outer before the inner; cycles are harmless."""
    waiting = deque[tuple[tuple[str, ...], object]]([((), loaded)])
    seen = set[int]()
    while waiting:
        path, node = waiting.popleft()
        if id(node) in seen or len(path) > _DEEPEST or any(map(_BESIDE.fullmatch, path[-1:])):
            continue
        seen.add(id(node))
        parts = _parts(node)
        tensors = {key: value for key, part in parts if (value := _tensor(part)) is not None}
        if isinstance(node, Mapping) and any(value.ndim for value in tensors.values()):
            yield path, tensors
        waiting += [((*path, key), part) for key, part in parts if isinstance(part, Mapping | list | tuple)]


def _parts(node: object) -> list[tuple[str, object]]:
    if isinstance(node, Mapping):
        return [(key, part) for key, part in node.items() if isinstance(key, str)]
    return [(str(number), part) for number, part in enumerate(node)] if isinstance(node, Sequence) else []


def _tensor(value: object) -> Tensor | None:
    if isinstance(value, inert.Array | np.ndarray):
        return inert.tensor(value)
    return value if isinstance(value, Tensor) else None


def _numbers(tensors: Tensors) -> int:
    return sum(value.numel() for value in tensors.values() if value.is_floating_point())
