"""Ways in which training may have seen an image otherwise than it is given. All images are (n, c, h, w)."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

LAST_AS_FIRST = "channels last read as channels first"
FIRST_AS_LAST = "channels first read as channels last"
SWAPPED = "red and blue exchanged"
MIRRORED = "mirrored"
ENLARGED = "middle enlarged"


class Way(NamedTuple):
    """One way.

    Attributes:
        name: In plain English; empty for the record as it is.
        make: From (n, c, h, w) records to as many.
        reading: Name of the reading of the files that it starts from; empty for the usual one.
        moves: Whether the coarse comparison tries it moved as well.
    """

    name: str
    make: Callable[[Tensor], Tensor]
    reading: str = ""
    moves: bool = False


def _same(images: Tensor) -> Tensor:
    return images


def _mirrored(images: Tensor) -> Tensor:
    return images.flip(-1)


def _swapped(images: Tensor) -> Tensor:
    return images.flip(1)


def _last_as_first(images: Tensor) -> Tensor:
    """Return what is seen of an image that was flattened channels last and is read channels first."""
    return images.permute(0, 2, 3, 1).reshape(images.shape)


def _first_as_last(images: Tensor) -> Tensor:
    """Undo :func:`_last_as_first`."""
    count, channels, height, width = images.shape
    return images.reshape(count, height, width, channels).permute(0, 3, 1, 2)


def _turned(quarters: int, mirror: bool) -> Callable[[Tensor], Tensor]:
    def make(images: Tensor) -> Tensor:
        return torch.rot90(images.flip(-1) if mirror else images, quarters, (-2, -1))

    return make


_TURNS = {
    (2, False): "turned by 180 degrees",
    (2, True): "mirrored top to bottom",
    (1, False): "turned left",
    (3, False): "turned right",
    (1, True): "mirrored and turned left",
    (3, True): "mirrored and turned right",
}
"""Quarter turns to the left after mirroring, or not."""


def ways(shape: tuple[int, ...], readings: Collection[str], turned: bool, lacking: int = 0) -> list[Way]:
    """Return the ways of images of a shape (c, h, w); the first leaves them as they are.

    Args:
        shape: Of one image.
        readings: Names of other readings of the files.
        turned: Whether training may have mirrored and turned them: not where mirrored and turned reconstructions stand
            for chance.
        lacking: So many stand-ins for readings there are, which enlarge the middle.
    """
    channels, height, width = shape
    colour = [Way(SWAPPED, _swapped)] * (channels == 3) + [Way(LAST_AS_FIRST, _last_as_first)] * (channels > 1)
    found = [Way("", _same, moves=True)] + [Way(MIRRORED, _mirrored, moves=True)] * turned
    plain = *found, *colour
    for name in readings:
        found += [Way(joined(name, way.name), way.make, reading=name) for way in plain]
    if turned:
        found += [Way(_TURNS[way], _turned(*way)) for way in _TURNS if way[0] == 2 or height == width]
    for place in range(lacking):
        found += [Way(joined(ENLARGED, way.name), _chained(_enlarged(place), way.make)) for way in plain]
    found += colour + _both(colour, turned)
    return found + [Way(FIRST_AS_LAST, _first_as_last)] * (channels > 1)


def _enlarged(place: int) -> Callable[[Tensor], Tensor]:
    """Return what enlarges the middle: in width, in height and in both, by more and more."""
    part = 8 / (9 + place // 3)

    def make(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        rows = height if place % 3 == 0 else max(round(height * part), 1)
        columns = width if place % 3 == 1 else max(round(width * part), 1)
        top, left = (height - rows) // 2, (width - columns) // 2
        middle = images[..., top : top + rows, left : left + columns]
        return interpolate(middle, (height, width), mode="bilinear", align_corners=False)

    return make


def _both(colour: list[Way], turned: bool) -> list[Way]:
    """Return those ways of colour with another one before them."""
    first = [Way(MIRRORED, _mirrored)] * turned + colour[:-1]
    return [
        Way(joined(one.name, two.name), _chained(one.make, two.make))
        for two in colour
        for one in first
        if one.name != two.name
    ]


def _chained(one: Callable[[Tensor], Tensor], two: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda images: two(one(images))


def joined(*names: str) -> str:
    """Return names in one, without empty ones."""
    return ", ".join(name for name in names if name)
