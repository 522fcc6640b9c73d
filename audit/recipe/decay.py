"""Weight decay, as far as the change of the parameters shows it."""

import math
from collections.abc import Mapping

from ..report.facts import ChangeFacts, Delta, Fact
from .sources import inferred


def shrunk(read: ChangeFacts) -> float | None:
    """Return the factor by which decay shrank the weights, where the change shows that there was any."""
    factor = read.get("weight_decay_factor")
    high = factor.interval[1] if factor and factor.interval else None
    if factor is None or high is None or high >= 1 or not 0 < factor.value < 1:
        return None
    return factor.value


def no_decay(read: ChangeFacts) -> Fact | None:
    """Return that there was none, where the change shows it; how much there was follows from the learning rate."""
    factor = read.get("weight_decay_factor")
    if factor is None or factor.interval is None or factor.interval[1] is None or factor.interval[1] < 1:
        return None
    return inferred("weight_decay", 0.0, factor.evidence, factor.confidence)


def shrink(delta: Delta, facts: Mapping[str, Fact]) -> float:
    """Return the factor by which decay shrank the weights where the change shows it and no decay was given; else 1."""
    return (shrunk(delta.facts) or 1.0) if facts["weight_decay"].source == "assumed" else 1.0


def decay_of(factor: float, travel: float) -> Fact[float]:
    """Return the weight decay that shrinks the weights by ``factor`` over a training of this travel."""
    why = f"the weights shrank by the factor {factor:.8g} over training"
    return inferred("weight_decay", -math.log(factor) / travel, why, 0.5)
