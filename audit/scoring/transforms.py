"""Ways in which training may have seen an image otherwise than it is given, and the one under which it is found.

Augmentation mirrors, turns and moves; libraries disagree on the order of channels and of axes; a photo is fitted into
the network's input in several ways. All images are (n, c, h, w) pixels in [0, 1].

Each record's way is chosen by looking at the reconstructions alone: cheaply, by the correlation of coarse versions of
all ways with all reconstructions, and then, of the few best, by the true similarity to the reconstruction that was
found there, moved as fits best. As held-out records get the same choice, their best similarity stays the measure of
chance.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, normalize

from .kind import Transformed
from .shifts import REACH, moved, moves
from .similarity import ssim_pairs

FEW = 4
"""Ways of each record that are looked at closely."""

_COARSE, _FINE = 16, 64
"""Sides of the images that ways are compared at, and of those that are moved for that."""

_PLAINER = 1e-6
"""Of ways that give the same the first is taken: so much less is each of them worth."""

_CHUNK = 2**22
"""Numbers of a slice of records."""

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
    found = [Way("", _same, moves=True)]
    if turned:
        found.append(Way(MIRRORED, _mirrored, moves=True))
        turns = [way for way in _TURNS if way[0] == 2 or height == width]
        found += [Way(_TURNS[way], _turned(*way)) for way in turns]
    colour: list[Way] = []
    if channels == 3:
        colour.append(Way(SWAPPED, _swapped))
    if channels > 1:
        colour.append(Way(LAST_AS_FIRST, _last_as_first))
    plain = *found[: 1 + turned], *colour
    for name in readings:
        found += [Way(_joined(name, way.name), way.make, reading=name) for way in plain]
    for place in range(lacking):
        found += [Way(_joined(ENLARGED, way.name), _chained(_enlarged(place), way.make)) for way in plain]
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
        Way(_joined(one.name, two.name), _chained(one.make, two.make))
        for two in colour
        for one in first
        if one.name != two.name
    ]


def _chained(one: Callable[[Tensor], Tensor], two: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda images: two(one(images))


def _joined(*names: str) -> str:
    return ", ".join(name for name in names if name)


def transformed(
    records: Tensor, readings: Mapping[str, Tensor], guesses: Tensor, turned: bool, lacking: int, without: Tensor | None
) -> Transformed:
    """Return each record as it looks most like some reconstruction, and how it got there.

    Args:
        records: (m, c, h, w).
        readings: Other readings of the same files, by name, each as ``records``.
        guesses: (n, c, h, w) reconstructions, n at least 1.
        turned: See :func:`ways`.
        lacking: See :func:`ways`.
        without: (m,) for each record the index of a reconstruction that does not count, or -1.
    """
    guesses = guesses.to(records).nan_to_num(0.0).clamp(0, 1)
    tried = ways(tuple(records.shape[1:]), readings, turned, lacking)
    coarse = _signature(_small(guesses))
    made, names = [], list[str]()
    for rows in _slices(records):
        part = records[rows]
        sources = {"": part} | {name: other[rows] for name, other in readings.items()}
        barred = None if without is None else without[rows]
        found = _refined(sources, tried, *_likely(sources, tried, coarse, barred), guesses)
        made.append(found.records)
        names += found.names
    return Transformed(torch.cat(made) if made else records, tuple(names))


def _slices(records: Tensor) -> Iterator[slice]:
    step = max(_CHUNK // records.shape[1:].numel(), 1)
    return (slice(start, start + step) for start in range(0, len(records), step))


def _likely(
    sources: Mapping[str, Tensor], tried: list[Way], coarse: Tensor, barred: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return (m, k) the ways under which records are most like a reconstruction, coarsely, and these (m, k)."""
    scores, nearest = [], []
    for way in tried:
        small = _small(way.make(sources[way.reading]))
        close = torch.stack([_signature(version) @ coarse.T for version in _around(small, way.moves)]).amax(0)
        if barred is not None:
            rows = (barred >= 0).nonzero().flatten()
            close[rows, barred[rows]] = -2.0
        best = close.max(1)
        scores.append(best.values)
        nearest.append(best.indices)
    plainer = _PLAINER * torch.arange(len(tried), device=coarse.device)
    chosen = (torch.stack(scores, 1) - plainer).topk(min(FEW, len(tried)), 1).indices
    return chosen, torch.stack(nearest, 1).gather(1, chosen)


def _around(small: Tensor, move: bool) -> Iterator[Tensor]:
    """Yield images as they are, and moved by a sixteenth and an eighth of their side each way."""
    yield small
    height, width = small.shape[-2:]
    if not move or min(height, width) < REACH:
        return
    for down in (-2, -1, 0, 1, 2):
        for right in (-2, -1, 0, 1, 2):
            if down or right:
                by = torch.tensor([[down * height // (2 * REACH), right * width // (2 * REACH)]], device=small.device)
                yield moved(small, by.expand(len(small), 2), edge=False)


def _refined(
    sources: Mapping[str, Tensor], tried: list[Way], chosen: Tensor, nearest: Tensor, guesses: Tensor
) -> Transformed:
    """Return the best of the likely ways of each record, moved where that is better; large images are chosen small."""
    best, coarse = _Best(sources[""]), _Best(_small(sources[""]))
    for place in range(chosen.shape[1]):
        made, target = _made(sources, tried, chosen[:, place]), guesses[nearest[:, place]]
        coarse.offer(_small(made), _small(target), torch.full((len(made),), place, device=made.device))
    which = coarse.origin[:, None]
    way, target = chosen.gather(1, which).flatten(), guesses[nearest.gather(1, which).flatten()]
    best.offer(_made(sources, tried, way), target, way)
    done = zip(way.tolist(), best.moved.tolist(), strict=True)
    return Transformed(best.records, tuple(_joined(tried[index].name, _moved_by(by)) for index, by in done))


class _Best:
    """The most similar version of each record so far.

    Attributes:
        records: (m, c, h, w) those versions.
        similarity: (m,) theirs.
        origin: (m,) what was said of them when they were offered.
        moved: (m, 2) how far they were moved.
    """

    def __init__(self, records: Tensor) -> None:
        self.records = records.clone()
        self.similarity = torch.full((len(records),), -2.0, dtype=torch.float64, device=records.device)
        self.origin = torch.zeros(len(records), dtype=torch.long, device=records.device)
        self.moved = torch.zeros(len(records), 2, dtype=torch.long, device=records.device)

    def offer(self, records: Tensor, targets: Tensor, origin: Tensor) -> None:
        """Take what is more similar to its target: a record as it is, or moved, with black or its edge coming in."""
        by = moves(records, targets)
        for shift, edge in ((torch.zeros_like(by), True), (by, False), (by, True)):
            version = moved(records, shift, edge)
            similarity = ssim_pairs(version, targets)
            rows = similarity > self.similarity
            self.records[rows], self.similarity[rows] = version[rows], similarity[rows]
            self.origin[rows], self.moved[rows] = origin[rows], shift[rows]


def _made(sources: Mapping[str, Tensor], tried: list[Way], chosen: Tensor) -> Tensor:
    """Return each record (m, c, h, w) in its own way."""
    made = torch.empty_like(sources[""])
    for index in sorted(set(chosen.tolist())):
        rows = (chosen == index).nonzero().flatten()
        made[rows] = tried[index].make(sources[tried[index].reading][rows])
    return made


def _moved_by(by: list[int]) -> str:
    """Return how many pixels down and right an image was moved, in words; empty where it was not."""
    down, right = by
    parts = [f"{abs(right)} to the {'right' if right > 0 else 'left'}"] * (right != 0)
    parts += [f"{abs(down)} {'down' if down > 0 else 'up'}"] * (down != 0)
    return f"moved by {' and '.join(parts)} (pixels)" if parts else ""


def _small(images: Tensor) -> Tensor:
    height, width = (min(side, _FINE) for side in images.shape[-2:])
    return adaptive_avg_pool2d(images, (height, width))


def _signature(images: Tensor) -> Tensor:
    """Return (n, d) coarse colours, of mean 0 and norm 1."""
    height, width = (min(side, _COARSE) for side in images.shape[-2:])
    coarse = adaptive_avg_pool2d(images, (height, width)).flatten(1)
    return normalize(coarse - coarse.mean(1, keepdim=True))
