"""Which tensors of a trained network are a new classifier head, whose start is unknown: by names, shapes and values."""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor

from ...attacks.contract.params import Params

_WORDS = re.compile(
    r"_?(\w*heads?|head_\w+|fc|fc_\w+|\w+_fc|linear\w*|lin|\w*classif\w*|clf|cls|\w*score\w*|\w*pooler|\w*logits?"
    r"|last\w*|final\w*|\w*outputs?|out|out_\w+|top|\w*predict\w*|\w*projector|decoder|dense|vocab_\w+|label\w*|mask_token)_?\d*",
    re.IGNORECASE,
)
"""Parts of the names of classifier heads, of what pools for them, and of what a pretraining put in their place."""

_DEEPEST, _MOST_TENSORS, _MOST_PLACES = 3, 12, 3
"""A head's name has at most this many parts; it has so many tensors, in so many places: pooler and classifier."""

_FEWEST = 256
"""Numbers of a matrix whose values show that it was initialised anew."""

_LEFT, _KEPT = 0.1, 0.9
"""At most this share of a head's start is left in its end if it was initialised anew; so much of all else must be."""

_ALIKE, _SIGMAS = 4.0, 6.0
"""Start and end differ in size by at most this factor; chance is as many standard deviations away from training."""


@dataclass(frozen=True)
class Heads:
    """What two networks do not share.

    Attributes:
        fresh: Names of ``after`` whose start is unknown.
        dropped: Names that only ``before`` has, or that have another shape there.
    """

    fresh: frozenset[str]
    dropped: frozenset[str]


def moved_head(before: Params, after: Params) -> dict[str, str]:
    """Return names of ``before`` by names of ``after`` for a head of equal shapes that lies deeper or less deep.

    So it is with ``fc.weight`` and the ``fc.1.weight`` of ``Sequential(Dropout, Linear)``.
    """
    ours, theirs = ([name for name in side if name not in other] for side, other in ((before, after), (after, before)))
    found = {}
    for name in ours:
        alike = [other for other in theirs if _one_place(name, other) and before[name].shape == after[other].shape]
        if len(alike) == 1:
            found[name] = alike[0]
    return found if len(set(found.values())) == len(found) else {}


def _one_place(name: str, other: str) -> bool:
    short, long = sorted((name.split("."), other.split(".")), key=len)
    middle = long[len(short) - 1 : -1]
    return (
        long[: len(short) - 1] == short[:-1] and long[-1] == short[-1] and 0 < len(middle) < 3 and _is_index(middle[0])
    )


def _is_index(part: str) -> bool:
    return part.isdecimal()


def new_head(before: Params, after: Params) -> Heads | None:
    """Tell a new head from a network of another kind.

    Args:
        before: By the names that ``after`` has.
        after: The trained network.

    Returns:
        What is not shared, where all of it is plausibly a head; None where it is not. Integers decide nothing.
    """
    shared = {name for name, value in after.items() if name in before and _kind(before[name]) == _kind(value)}
    mixed = [name for name in after.keys() & before.keys() if not _same_type(before[name], after[name])]
    fresh = {name for name in after.keys() - shared if after[name].is_floating_point()}
    gone = {name for name in before.keys() - shared if before[name].is_floating_point()}
    size = sum(after[name].numel() for name in shared if after[name].is_floating_point())
    places = _places(fresh, shared)
    if mixed or sum(after[name].numel() for name in fresh) > size or not all(_is_flat(after[name]) for name in fresh):
        return None
    if len(fresh) > _MOST_TENSORS or len(places) > _MOST_PLACES:
        return None
    if not all(_is_end(place, shared) for place in places | _places(gone, shared)):
        return None
    return Heads(frozenset(fresh), frozenset(before.keys() - shared))


def _kind(tensor: Tensor) -> tuple[tuple[int, ...], bool]:
    return tuple(tensor.shape), tensor.is_floating_point()


def _same_type(a: Tensor, b: Tensor) -> bool:
    return a.is_floating_point() == b.is_floating_point()


def _is_flat(tensor: Tensor) -> bool:
    """Return whether a tensor may belong to a linear layer, also to one written as a convolution of one pixel."""
    return tensor.ndim <= 2 or set(tensor.shape[2:]) == {1}


def _places(names: Collection[str], shared: Collection[str]) -> set[str]:
    """Return the largest modules that hold names of the one kind and none of the other."""
    taken = {prefix for name in shared for prefix in _above(name)}
    return {next((place for place in _above(name) if place not in taken), name) for name in names}


def _above(name: str) -> list[str]:
    """Return the modules that hold a tensor, the outermost first."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _is_end(place: str, shared: Collection[str]) -> bool:
    """Return whether a module is named as a head, or is the last of a numbered sequence."""
    *way, last = place.split(".")
    if len(way) >= _DEEPEST:
        return False
    if place == "norm" or any(_WORDS.fullmatch(part) for part in (*way, last)):
        return True
    prefix = "".join(f"{part}." for part in way)
    others = [name[len(prefix) :].partition(".")[0] for name in shared if name.startswith(prefix)]
    return last.isdecimal() and all(other.isdecimal() and int(other) < int(last) for other in others)


def initialised_anew(before: Params, after: Params) -> frozenset[str]:
    """Return the names of heads of equal shape that were initialised anew before the training.

    Training adds to a head's start, so that the start is still in its end; of two independent draws hardly anything of
    the first is in the second. It must be overwhelmingly clear: a large matrix, and all else kept its start.

    Args:
        before: Values by name.
        after: The same names and shapes.
    """
    matrices = [name for name, value in after.items() if value.ndim > 1 and value.is_floating_point()]
    found = [name for name in matrices if _is_last(name, after) and _is_other(before[name], after[name])]
    rest = [name for name in matrices if name not in found]
    if len(found) != 1 or not rest or _kept(rest, before, after) < _KEPT:
        return frozenset()
    layer = found[0].rpartition(".")[0]
    return frozenset(name for name in after if name.rpartition(".")[0] == layer)


def _is_last(name: str, names: Collection[str]) -> bool:
    layer = name.rpartition(".")[0]
    others = [other for other in names if other.rpartition(".")[0] != layer]
    return bool(layer) and layer.count(".") < _DEEPEST and _is_end(layer, others)


def _is_other(start: Tensor, end: Tensor) -> bool:
    """Return whether a matrix does not continue another: both alike in size, nothing of the one in the other."""
    if start.ndim != 2 or start.numel() < _FEWEST or not start.any():
        return False
    ratio = float(end.double().norm() / start.double().norm())
    clear = _SIGMAS * ratio / math.sqrt(start.numel()) < 1 - _LEFT
    return 1 / _ALIKE < ratio < _ALIKE and clear and abs(_kept([""], {"": start}, {"": end})) < _LEFT


def _kept(names: Collection[str], before: Params, after: Params) -> float:
    """Return how much of the start is in the end: its coefficient where the end is regressed on it, in float64."""
    square = sum(float(before[name].double().square().sum()) for name in names)
    shared = sum(float((before[name].double() * after[name].double()).sum()) for name in names)
    return shared / square if square else 1.0


def modules(names: Collection[str]) -> str:
    """Return the modules of tensors for a message: ``'fc'``, or ``'bert.pooler.dense' and 'classifier'``."""
    return " and ".join(repr(name) for name in dict.fromkeys(name.rpartition(".")[0] or name for name in names))
