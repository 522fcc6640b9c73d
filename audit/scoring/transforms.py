"""The way in which training may have seen an image, chosen for each by what was reconstructed.

Augmentation mirrors, turns and moves; libraries disagree on the order of channels and of axes; a photo is fitted into
the network's input in several ways. All images are (n, c, h, w) pixels in [0, 1].

Each record's way is chosen by looking at the reconstructions alone: cheaply, by the correlation of coarse versions of
all ways with all reconstructions, and then, of the few best, by the true similarity to the reconstruction that was
found there, moved as fits best. As held-out records get the same choice, their best similarity stays the measure of
chance.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, normalize

from .kind import Transformed
from .shifts import REACH, moved, moves
from .similarity import ssim_pairs
from .ways import Way, joined, ways

FEW = 4
"""Ways of each record that are looked at closely."""

_COARSE, _FINE = 16, 64
"""Sides of the images that ways are compared at, and of those that are moved for that."""

_COLOUR = 0.5
"""Weight of colour and shade in the coarse comparison beside local contrast."""

_FAINT = 0.03**2
"""Variance of pixels that counts as no contrast, as in SSIM."""

_PLAINER = 1e-6
"""Of ways that give the same the first is taken: so much less is each of them worth."""

_CHUNK = 2**22
"""Numbers of a slice of records."""


def transformed(
    records: Tensor, readings: Mapping[str, Tensor], guesses: Tensor, turned: bool, lacking: int, without: Tensor | None
) -> Transformed:
    """Return each record as it looks most like some reconstruction, and how it got there.

    Args:
        records: (m, c, h, w).
        readings: Other readings of the same files, by name, each as ``records``.
        guesses: (n, c, h, w) reconstructions, n at least 1.
        turned: See :func:`.ways.ways`.
        lacking: See :func:`.ways.ways`.
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
    return Transformed(best.records, tuple(joined(tried[index].name, _moved_by(by)) for index, by in done))


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
    """Return (n, d) what a coarse version shows, of norm 1: its local contrast, as SSIM sees it, and some colour."""
    height, width = (min(side, _COARSE) for side in images.shape[-2:])
    coarse = adaptive_avg_pool2d(images, (height, width))
    mean = _blurred(coarse)
    spread = (_blurred(coarse.square()) - mean.square()).clamp(min=0)
    local = normalize(((coarse - mean) / (spread + _FAINT).sqrt()).flatten(1))
    colour = coarse.flatten(1)
    return normalize(torch.cat([local, _COLOUR * normalize(colour - colour.mean(1, keepdim=True))], 1))


def _blurred(images: Tensor) -> Tensor:
    return avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
