"""Starts that nobody knows, by the shooting condition: the simulated training must end where the real one did.

Of some parameters only the end is known. Their start is corrected by what the simulation missed the end by,
``W0 <- W0 + gain (Wf - simulated Wf)``, a fixed-point iteration that goes on beside the search for the records. So is
a learning rate that nobody knows: the simulated change must be as long as the real one.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..contract.params import Params
from ..contract.victim import Victim

GAIN = 0.3
"""Share of what was missed that one correction takes back: the records that are simulated are not right yet."""

NORM_GAIN = 0.7
"""Share of the logarithmic error of the change's norm that one update takes out of the fitted learning rate."""

_KEY = "start."


def started(victim: Victim, memory: Mapping[str, Tensor]) -> Victim:
    """Return the victim with the starts that :func:`corrected` has found so far."""
    found = {name: memory[f"{_KEY}{name}"] for name in victim.guessed if f"{_KEY}{name}" in memory}
    if not found:
        return victim
    return replace(victim, theta0={name: found.get(name, value) for name, value in victim.theta0.items()})


def corrected(victim: Victim, final: Params) -> dict[str, Tensor]:
    """Return what a state's memory keeps of the unknown starts after one more correction.

    Args:
        victim: As :func:`started` returned it.
        final: Where the simulation ended, by name; starts are kept as they are where that is not finite.
    """
    found = {}
    for name in sorted(victim.guessed):
        missed = (victim.thetaf[name] - final[name]).detach()
        whole = bool(torch.isfinite(missed).all())
        found[f"{_KEY}{name}"] = torch.add(victim.theta0[name], missed, alpha=GAIN) if whole else victim.theta0[name]
    return found


def fitted_rate(before: Tensor, after: Tensor, ratio: Tensor, settled: bool) -> Tensor:
    """Return the fitted logarithm of a learning rate: a quarter of a step, and what makes the change as long as it was.

    Args:
        before: The logarithm (a scalar).
        after: Where a step along its own slope would lead.
        ratio: Length of the simulated change over that of the real one.
        settled: Whether the records have got over their start, so that the length says something.
    """
    correction = (-NORM_GAIN * ratio.log()).clamp(-0.7, 0.7) if settled else 0.0
    return before + (after - before) / 4 + correction
