"""Records that ended as look-alikes: a deep layer hardly tells an image from one moved by its stride, or mirrored.

What such a layer sees of the moved image is nearly the same, at other positions. A search may settle on it, and no
small step leads from there to the right one.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..contract.attack import State
from ..contract.medium import Medium
from ..optimise.optim import MOMENTS


def exchanged(medium: Medium, state: State, stride: int, number: int, chosen: Tensor) -> State:
    """Return a state in which the chosen records are one of their look-alikes, their optimiser's moments with them.

    Args:
        medium: Says what look-alikes there are.
        state: Its variables are the medium's.
        stride: How far look-alikes are moved.
        number: Which of the look-alikes.
        chosen: (n,) booleans.
    """
    variables, memory = dict(state.variables), dict(state.memory)
    for name, other in medium.lookalikes(variables, stride)[number].items():
        variables[name] = _where(chosen, other, variables[name])
    for moment in MOMENTS:
        own = {name: memory[f"{moment}.{name}"] for name in variables}
        for name, other in medium.lookalikes(own, stride)[number].items():
            memory[f"{moment}.{name}"] = _where(chosen, other, own[name])
    return replace(state, variables=variables, memory=memory)


def _where(chosen: Tensor, other: Tensor, own: Tensor) -> Tensor:
    return torch.where(chosen.to(own.device).view(-1, *[1] * (own.ndim - 1)), other, own)
