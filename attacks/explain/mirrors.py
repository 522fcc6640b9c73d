"""Records that ended as look-alikes: a network hardly tells an image from its mirror image, and a search may end there.

What was found is replaced by its look-alike, and the loss rises. It rises least for one that should be the look-alike,
as the other way round is nearly as good already. Such ones are turned, adapted for a while, and turned back
where that made it worse.
"""

from dataclasses import replace

from torch import Tensor

from ..contract.attack import State
from ..contract.medium import Medium

SUSPECT = 0.5
"""Turning one is suspiciously harmless where it costs less than this share of what it costs for the median."""

MOMENTS = ("mean", "square")
"""First parts of the names of an optimiser's moments."""


def shares(costs: Tensor) -> Tensor:
    """Return (n,) what turning each record costs as a share of the median: suspect below :data:`SUSPECT`.

    Args:
        costs: (n,) how much the loss rises if a record is turned.
    """
    return costs / costs.median().clamp(min=1e-12)


def turned(medium: Medium, state: State, chosen: Tensor) -> State:
    """Return a state in which the chosen records are their look-alikes, their optimiser's moments with them.

    Args:
        medium: Says what a look-alike is.
        state: Its variables are the medium's.
        chosen: (n,) booleans.
    """
    variables = medium.mirrored(state.variables, chosen)
    memory = dict(state.memory)
    for moment in MOMENTS:
        names = {name: f"{moment}.{name}" for name in variables}
        found = medium.mirrored({name: memory[place] for name, place in names.items()}, chosen)
        memory |= {names[name]: value for name, value in found.items()}
    return replace(state, variables=variables, memory=memory)
