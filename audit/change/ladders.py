"""Layers that look made to store what they see: many units of one direction, whose thresholds rise."""

from ...attacks.contract.params import Params
from ...attacks.firstlayer.ladder import SHARE, ladder
from ..report.facts import Fact

COLUMNS = 2048
"""So many columns of a weight are looked at: enough to tell whether rows are parallel."""


def ladders(tensors: Params) -> dict[str, int]:
    """Return, by the name of its weight, how many units of each such linear layer form a ladder."""
    found = {}
    for name, weight in tensors.items():
        bias = tensors.get(f"{name.removesuffix('weight')}bias") if name.endswith("weight") else None
        if weight.ndim == 2 and bias is not None and bias.shape == weight.shape[:1]:
            some = weight[:, :: -(-weight.shape[1] // COLUMNS)]
            count = len(ladder(some.double(), bias.double()))
            if count >= SHARE * len(weight):
                found[name] = count
    return found


def read_ladders(tensors: Params) -> Fact | None:
    """Return the names of such layers of the network before training; ``None`` where there are none.

    Each input stops at another unit of a ladder, so that differences of the units' changes are single inputs (Fowl et
    al., Robbing the Fed, ICLR 2022).
    """
    found = ladders(tensors)
    if not found:
        return None
    said = ", ".join(f"{count} of the {len(tensors[name])} units of {name}" for name, count in found.items())
    words = f"{said} share one direction, and their thresholds rise one by one: inputs stop at units of their own"
    return Fact(value=list(found), source="inferred", confidence=0.95, evidence=words)
