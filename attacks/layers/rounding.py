"""Where data end and rounding begins, among the singular values of a change of weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

GAP = 20.0
"""Neighbouring singular values at least this far apart, as a ratio, end the rank. Those of rounding alone come nearer
than 7, as it is cut off at LOWEST; among data such a gap is rare, and what follows it shows which it is."""

QUIET = 100.0
"""What follows the gap is rounding up to this multiple of one rounding of the stored type: every step of training
rounds again, and weight decay adds a rounding that is the same in every step."""

FLAT, ALIKE, STEEP = 30.0, 2.0, 10.0
"""That limit is FLAT times as high where the first value that follows is at most ALIKE times the median of the rest:
noise is flat, an input with almost no gradient is not. Beyond STEEP times the median it is not rounding at all."""

EDGE = 1.4
"""Above this multiple of the largest singular value that rounding alone has (Davidson and Szarek, 2001, theorem 2.13:
sqrt(width) + sqrt(d) times that of an entry), a value is data. Entries are not rounded alike, hence the margin."""

COARSE = 2.0**-18
"""Rounding above this share of the weights is that of storage: the float32 roundings of a training do not reach it, so
that its law is known. Below it only a gap shows the rank."""

LOWEST = 0.3
"""Values below this share of the root mean square of those of rounding are all taken for rounding."""

FREE = 16
"""The rank leaves at least this many numbers, rows that it does not reach times columns: the smallest value of a square
matrix may lie far below the next by chance, and some factor of weight decay brings it to zero in any case."""

BLUR = 1e-8
"""Values below this share of the largest are lost: they are roots of eigenvalues, computed in float64."""


@dataclass(frozen=True)
class Edge:
    """Where the singular values of a change end.

    Attributes:
        rank: How many there are before the widest gap; or, if that is narrow, above the rounding of a coarse type.
        gap: The last of them over the next one.
        kind: ``sharp``: a gap that ends at rounding. ``gap``: one that ends above it. ``edge``: no gap, but values that
            stand out of the rounding of a coarse type; as many as that shows. ``none``: the rank does not show.
        flat: Whether the values that do not count are alike, as those of noise are.
    """

    rank: int
    gap: float
    kind: Literal["none", "edge", "gap", "sharp"]
    flat: bool

    @property
    def clear(self) -> bool:
        """Whether the rank ends at a gap."""
        return self.kind in ("gap", "sharp")


@dataclass(frozen=True)
class Floor:
    """What rounding adds to the singular values of a change.

    Attributes:
        shape: (width, d) of the weight; the values may be those of a sketch of it.
        noise: Root mean square of the rounding in an entry of the change.
        size: Root mean square of the weights.
    """

    shape: tuple[int, int]
    noise: float
    size: float

    def edge(self, values: Tensor, shape: Sequence[int]) -> Edge:
        """Return where descending singular ``values`` (m,) of a matrix of ``shape`` end, m its smaller side."""
        most = sum((shape[0] - rank) * (shape[1] - rank) >= FREE for rank in range(1, len(values)))
        if not most or float(values[0]) == 0:
            return Edge(0, 1.0, "none", True)
        level, blur = self.noise * math.sqrt(math.prod(self.shape) / len(values)), BLUR * float(values[0])
        lowest = max(LOWEST * level, blur)
        clamped = values.clamp(min=lowest)
        ratios = clamped[:-1] / clamped[1:]
        rank = int(ratios[:most].argmax()) + 1
        gap, rest = float(ratios[rank - 1]), values[rank:]
        if gap < GAP:
            return self._above(values, blur, most) or Edge(rank, gap, "none", False)
        tail = rest[rest > lowest]
        steep = float(rest[0] / tail.median()) if len(tail) else 1.0
        quiet = QUIET * level * (FLAT if steep < ALIKE and len(tail) > 8 else 1)
        sharp = float(rest[0]) <= max(quiet, 10 * blur) and (steep < STEEP or len(tail) < 4)
        return Edge(rank, gap, "sharp" if sharp else "gap", steep < 4)

    def _above(self, values: Tensor, blur: float, most: int) -> Edge | None:
        """Return how many values stand out of a coarse type's rounding."""
        largest = EDGE * self.noise * sum(map(math.sqrt, self.shape))
        above = int((values > max(largest, blur)).sum())
        if self.noise <= COARSE * self.size or not 0 < above <= most:
            return None
        return Edge(above, float(values[above - 1] / values[above]), "edge", False)


def noise(sides: Sequence[Tensor], types: Sequence[torch.dtype]) -> float:
    """Return the root mean square of the rounding in the difference of two tensors stored in ``types``."""
    power = sum(rounding(side, kind).square() for side, kind in zip(sides, types, strict=True))
    return float(power.mean().sqrt()) if isinstance(power, Tensor) and power.numel() else 0.0


def rounding(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the standard deviation of rounding each value to ``dtype``: its unit in the last place over sqrt(12)."""
    info = torch.finfo(dtype)
    _, exponent = torch.frexp(values.double().abs().clamp(min=info.smallest_normal))
    return torch.exp2(exponent.double() - 1) * (info.eps / 12**0.5)


def stored(values: Tensor) -> torch.dtype:
    """Return the coarsest floating type that holds all ``values`` exactly: as far as they show, that of their file."""
    types = (torch.bfloat16, torch.float16, torch.float32)
    return next((kind for kind in types if torch.equal(values, values.to(kind).to(values.dtype))), values.dtype)
