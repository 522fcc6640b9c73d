"""Layers at which a record's gradient is read off two things: what the layer was given, and the slope by its outputs.

The gradient of a layer that multiplies rows is the sum over rows of slope times row. Taken so, no gradient of a weight
passes through automatic differentiation for single records, which is slow for convolutions and holds the gradients of
all layers at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..contract.attack import generator
from ..contract.params import Params
from ..contract.victim import Victim
from ..layers.inputs import middle, rows_of, usable

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Exactly these: a class of a network's own may do more with its weight."""

PROBES, FEWER = 5, 3
"""Made-up inputs on which layers are tried, all of them and a part."""

CLOSE = 4.0
"""Gradients agree within so many roots of what their numbers resolve."""

Fed = list[tuple[torch.Size, torch.Size]]
"""Shapes of what a layer was given and returned, each time that it ran."""


def taps(victim: Victim, change: Params) -> dict[str, tuple[int, ...]]:
    """Return the shape of the outputs for one input, of every trained layer that sees each input once, by its path.

    Of these only layers whose gradients, on made-up inputs, are those of automatic differentiation: others share their
    weight or bias, or the network uses these by itself as well.
    """
    x = torch.randn(PROBES, *victim.shape, generator=generator(0)).to(victim.like)
    point = {name: value.detach().clone().requires_grad_() for name, value in middle(victim).items()}
    shapes, part = (_shapes(victim, inputs, change) for inputs in (x, x[:FEWER]))
    shapes = {path: shape for path, shape in shapes.items() if part.get(path) == shape}
    shifts = {path: x.new_zeros(PROBES, *shape).requires_grad_() for path, shape in shapes.items()}
    try:
        with shifted(victim.module, shifts) as given:
            logits = victim.logits(point, x)
        loss = (logits * torch.randn(logits.shape, generator=generator(1)).to(logits)).sum()
        found = torch.autograd.grad(loss, [*point.values(), *shifts.values()], materialize_grads=True)
    except RuntimeError:  # such a network is refused, with its reason, where its gradients are asked for
        return {}
    own, outer = dict(zip(point, found, strict=False)), dict(zip(shifts, found[len(point) :], strict=True))
    return {
        path: shape
        for path, shape in shapes.items()
        if _agree(path, _read(victim, path, given[path].detach(), outer[path]), own)
    }


def names_of(path: str) -> tuple[str, str]:
    """Return the names of a layer's weight and bias."""
    return f"{path}.weight".lstrip("."), f"{path}.bias".lstrip(".")


@contextmanager
def shifted(module: nn.Module, shifts: Params) -> Iterator[Params]:
    """Add ``shifts`` to what layers return inside the block; give what they were fed."""
    seen: dict[str, Tensor] = {}

    def hook(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def shift(_: nn.Module, fed: tuple[Tensor, ...], out: Tensor) -> Tensor:
            seen[path] = fed[0].clone()  # the network may go on to change it in place
            return out + shifts[path]

        return shift

    hooks = [module.get_submodule(path).register_forward_hook(hook(path), prepend=True) for path in shifts]
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


def _shapes(victim: Victim, x: Tensor, change: Params) -> dict[str, tuple[int, ...]]:
    """Return the shape of the outputs for one input, of every trained layer that ran once and on all inputs."""
    seen: dict[str, Fed] = {}
    hooks = [
        module.register_forward_hook(_noting(seen.setdefault(path, [])), prepend=True)
        for path, module in victim.module.named_modules()
        if type(module) in KINDS and names_of(path)[0] in change and usable(module)
    ]
    try:
        with torch.no_grad():
            victim.logits(victim.theta0, x)
    finally:
        for hook in hooks:
            hook.remove()
    once = {path: shapes[0] for path, shapes in seen.items() if len(shapes) == 1}
    return {path: tuple(out[1:]) for path, (fed, out) in once.items() if fed[0] == out[0] == len(x)}


def _read(victim: Victim, path: str, given: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients by a layer's weight and bias, of all records together."""
    weight, bias = gradients(victim.module.get_submodule(path), given[:, None], slope[:, None])
    return weight.sum(0).flatten(), bias.sum(0)


def _agree(path: str, read: tuple[Tensor, Tensor], slopes: Params) -> bool:
    """Return whether gradients that were read off a layer are those by its parameters, where anything arrives there."""
    near = CLOSE * torch.finfo(read[0].dtype).eps ** 0.5
    pairs = [(part, slopes[name].flatten()) for name, part in zip(names_of(path), read, strict=True) if name in slopes]
    return bool(pairs[0][1].any()) and all(float((one - two).norm()) <= near * float(two.norm()) for one, two in pairs)


def _noting(shapes: Fed) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    return lambda _, fed, out: shapes.append((fed[0].shape, out.shape))
