"""Several searches side by side, of which the one that explains most goes on.

In a narrow network a record fills much of what every layer can see, and a search for it often ends where other records
explain most of the change as well. Which searches do, is seen early.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from . import coverage
from .inputs import Layer
from .seen import Seen

NARROW = 0.1
"""Several searches run where the records fill at least this share of what the roomiest layer can see, ..."""

TOGETHER, MOST = 16 * 3 * 32 * 32, 8
"""... with so many numbers in all their records, sixteen images of 32 x 32 pixels, and at most so many."""

HALVED = (0.3, 0.5, 0.7)
"""Shares of the schedule at which the better half of the searches goes on."""

MORE = 3
"""One record more is sought for each so many, as some end where they explain little, ..."""

HALF = 0.5
"""... while all of them fill at most this share of what the roomiest layer can see."""


def more(size: int, layers: Sequence[Layer]) -> int:
    """Return how many more records than ``size`` a search begins with."""
    room = int(HALF / filled(1, layers))
    return max(min(size // MORE, room - size), 0)


def filled(size: int, layers: Sequence[Layer]) -> float:
    """Return the share of what the roomiest layer can see that ``size`` records fill, by their counts.

    Of layers with one position only where there is no other: what these see says nothing of places.
    """
    spatial = [layer for layer in layers if layer.positions > 1] or layers
    return min(size * layer.positions / layer.width for layer in spatial)


def searches(size: int, layers: Sequence[Layer], numbers: int) -> int:
    """Return how many searches for ``size`` records, of so many numbers each, run side by side."""
    return max(min(TOGETHER // (size * numbers), MOST), 1) if filled(size, layers) >= NARROW else 1


def covers(seen: Mapping[str, Seen], spans: Mapping[str, Tensor], size: int) -> Tensor:
    """Return (searches, layers) the share of each layer's change that each search's inputs leave, differentiable.

    Args:
        seen: What layers see of all inputs, by their key; those of a search follow each other.
        spans: (k, width) of each of these layers, by its key and ``.weighted``; see :class:`.coverage.Directions`.
        size: How many records there are; a search may have more, up to twice as many.
    """
    found = [
        [coverage.cover(part, spans[f"{key}.weighted"]) for part in _parted(rows, size)] for key, rows in seen.items()
    ]
    return torch.stack([torch.stack(parts) for parts in found], 1)


def better(left: Tensor, size: int) -> Tensor:
    """Return which inputs, of ``size`` for each search, belong to the better half of the searches.

    Args:
        left: (searches,) what each leaves, or a growing function of it.
        size: How many inputs a search has.
    """
    order = left.argsort(stable=True)[: (len(left) + 1) // 2].sort().values
    return (order[:, None] * size + torch.arange(size, device=order.device)).flatten()


def _parted(rows: Seen, size: int) -> list[Seen]:
    """Return what each search's inputs are seen as."""
    count = max(len(rows.source) // size, 1)
    return [replace(rows, source=source) for source in rows.source.chunk(count)]
