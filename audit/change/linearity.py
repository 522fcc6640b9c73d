"""Whether training was nearly linear: how alike the gradients of noise are before and after it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...attacks.contract.attack import generator
from ...attacks.contract.victim import Victim
from ...attacks.simulation.trainstep import gradient
from ..report.facts import Fact
from .readings import Readings

PROBES, HEAVY, TOO_HEAVY = 16, 5_000_000, 50_000_000
"""Noise images that probe linearity; number of parameters from which a quarter of them is used, and from which none."""


def read_linearity(found: Readings) -> Fact | None:
    """Return the mean cosine in [-1, 1] of gradients before and after, ``None`` where they cannot be computed."""
    subject = found.victim
    if subject is None or found.architecture is None:
        return None
    total = sum(value.numel() for value in subject.theta0.values())
    if total > TOO_HEAVY:
        return None
    count = PROBES if total <= HEAVY else PROBES // 4
    values = _cosines(subject, count)
    if not values or not all(map(math.isfinite, values)):
        return None
    value = sum(values) / count
    spread = 2 * (sum((v - value) ** 2 for v in values) / max(count - 1, 1) / count) ** 0.5
    words = (
        f"mean cosine of the loss gradients before and after training, over {count} noise images with random labels; "
        "near 1 the training is nearly linear, so that single-gradient attacks apply"
    )
    return Fact(
        value=value,
        source="inferred",
        confidence=0.7,
        interval=(max(value - spread, -1.0), min(value + spread, 1.0)),
        evidence=words,
    )


def _cosines(subject: Victim, count: int) -> list[float]:
    draw = generator(0)
    x = torch.randn(count, *subject.shape, generator=draw).to(subject.like)
    labels = torch.randint(subject.categories, (count,), generator=draw)
    sides = tuple(subject.theta0.values()), tuple(subject.thetaf[name] for name in subject.theta0)
    found = []
    for row in range(count):
        try:
            with torch.no_grad():
                start, end = (gradient(subject, side, x[row : row + 1], labels[row : row + 1]) for side in sides)
        except Exception:  # a forward that cannot be differentiated, or refuses noise
            return []
        found.append(_cosine(start, end))
    return found


def _cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Return the cosine of two lists of tensors seen as vectors, summed in float64; 0 where one of them vanishes."""
    dots = [sum(_dot(u, v) for u, v in zip(*pair, strict=True)) for pair in ((a, b), (a, a), (b, b))]
    length = math.sqrt(dots[1] * dots[2])
    return max(min(dots[0] / length, 1.0), -1.0) if length else 0.0


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.flatten().double(), b.flatten().double()))
