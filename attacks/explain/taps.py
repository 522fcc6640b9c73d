"""Layers at which a record's gradient is read off two things: what the layer was given, and the slope by its outputs.

The gradient of a layer that multiplies rows is the sum over rows of slope times row. Taken so, no gradient of a weight
passes through automatic differentiation for single records, which is slow for convolutions and holds the gradients of
all layers at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..contract.params import Params
from ..contract.victim import Victim
from ..layers.inputs import rows_of, usable

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Exactly these: a class of a network's own may do more with its weight."""

Fed = list[tuple[torch.Size, torch.Size]]
"""Shapes of what a layer was given and returned, each time that it ran."""


def taps(victim: Victim, change: Params) -> dict[str, tuple[int, ...]]:
    """Return the shape of the outputs for one input, of every trained layer that sees each input once, by its path."""
    seen: dict[str, Fed] = {}
    owners = _owners(victim.module)
    hooks = [
        module.register_forward_hook(_noting(seen.setdefault(path, [])))
        for path, module in victim.module.named_modules()
        if type(module) in KINDS and usable(module) and owners[id(module.weight)] == 1 and _weight(path) in change
    ]
    try:
        with torch.no_grad():
            victim.logits(victim.theta0, victim.like.new_zeros(2, *victim.shape))
    finally:
        for hook in hooks:
            hook.remove()
    once = {path: shapes[0] for path, shapes in seen.items() if len(shapes) == 1}
    return {path: tuple(out[1:]) for path, (fed, out) in once.items() if fed[0] == out[0] == 2}


def names_of(path: str) -> tuple[str, str]:
    """Return the names of a layer's weight and bias."""
    return _weight(path), f"{path}.bias".lstrip(".")


@contextmanager
def shifted(module: nn.Module, shifts: Params) -> Iterator[Params]:
    """Add ``shifts`` to what layers return inside the block; give what they were fed."""
    seen: dict[str, Tensor] = {}

    def hook(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def shift(_: nn.Module, fed: tuple[Tensor, ...], out: Tensor) -> Tensor:
            seen[path] = fed[0].clone()  # the network may go on to change it in place
            return out + shifts[path]

        return shift

    hooks = [module.get_submodule(path).register_forward_hook(hook(path)) for path in shifts]
    try:
        yield seen
    finally:
        for handle in hooks:
            handle.remove()


def gradients(module: nn.Module, given: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of records by a layer's weight (n, units, width) and its bias (n, units).

    Args:
        module: A linear layer or a convolution.
        given: (n, views, ...) what it was given of each record's inputs.
        slope: (n, views, ...) the slope of each record's loss by what it returned.
    """
    count, views = given.shape[:2]
    rows = rows_of(module, given.flatten(0, 1))
    groups, positions, width = rows.shape[1:]
    if isinstance(module, nn.Linear):
        signals = slope.reshape(count, 1, views * positions, -1).transpose(2, 3)
    else:
        signals = slope.reshape(count, views, groups, -1, positions).permute(0, 2, 3, 1, 4).flatten(3)
    rows = rows.view(count, views, groups, positions, width).transpose(1, 2).flatten(2, 3)
    found = signals @ rows
    return found.flatten(1, 2), signals.sum(3).flatten(1)


def _owners(module: nn.Module) -> dict[int, int]:
    """Return how many layers each parameter belongs to, by its identity."""
    found: dict[int, int] = {}
    for part in module.modules():
        for value in part.parameters(recurse=False):
            found[id(value)] = found.get(id(value), 0) + 1
    return found


def _weight(path: str) -> str:
    return f"{path}.weight".lstrip(".")


def _noting(shapes: Fed) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    return lambda _, fed, out: shapes.append((fed[0].shape, out.shape))
