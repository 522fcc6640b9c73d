"""What every trained layer sees: the rows that its weight multiplies, one per position of each input.

A layer that computes ``z = W a``, linear on vectors or tokens, or a convolution on its patches, has the gradient
``sum over inputs i and positions p of delta_ip a_ip^T``. The rows here are those ``a``.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from ..contract.params import Params
from ..contract.victim import Victim


@dataclass(frozen=True)
class Layer:
    """One trained layer, or one group of a grouped convolution: a matrix (units, width) times rows.

    Attributes:
        path: Name of the module.
        group: Which group of its channels.
        groups: How many there are.
        units: Outputs of a group.
        width: Numbers d in a row: inputs of a linear layer, channels of the group times kernel of a convolution.
        positions: Rows L that one input has.
        kernel: Places in the kernel of a convolution, 0 of a linear layer.
    """

    path: str
    group: int
    groups: int
    units: int
    width: int
    positions: int
    kernel: int

    @property
    def place(self) -> tuple[str, int]:
        """Its name and its group's number."""
        return self.path, self.group

    @property
    def key(self) -> str:
        """Both in one word."""
        return f"{self.path}:{self.group}"

    @property
    def weight(self) -> str:
        """Name of its weight."""
        return f"{self.path}.weight".lstrip(".")

    def matrix(self, params: Params) -> Tensor:
        """Return the part (units, width) of the weight that belongs to it."""
        return params[self.weight].flatten(1).chunk(self.groups)[self.group]


def trained(victim: Victim, x: Tensor) -> list[Layer]:
    """Return the trained layers in the order in which they run on inputs ``x`` (n, ...)."""
    paths = [path for path, module in victim.module.named_modules() if usable(module)]
    paths = [path for path in paths if f"{path}.weight".lstrip(".") in victim.delta]
    found = []
    with torch.no_grad():
        for path, rows in inputs_of(victim, victim.theta0, x, paths).items():
            groups, positions, width = rows.shape[1:]
            shape = victim.theta0[f"{path}.weight".lstrip(".")].shape
            kernel = math.prod(shape[2:]) if len(shape) > 2 else 0
            units = shape[0] // groups
            found += [Layer(path, group, groups, units, width, positions, kernel) for group in range(groups)]
    return found


def inputs_of(victim: Victim, params: Params, x: Tensor, paths: Iterable[str]) -> dict[str, Tensor]:
    """Return the rows (n, groups, positions, width) that layers multiply, by path, in the order in which they run.

    Those of a layer that is used several times are all there. Differentiable in ``x`` (n, ...).

    A layer that is fed no multiple of n, such as one on a table that all inputs share, is left out.
    """
    given = given_to(victim, params, x, paths)
    modules = {path: victim.module.get_submodule(path) for path in given}
    return {path: together([rows_of(modules[path], part) for part in parts], len(x)) for path, parts in given.items()}


def given_to(victim: Victim, params: Params, x: Tensor, paths: Iterable[str]) -> dict[str, list[Tensor]]:
    """Return what layers are given each time that they run on inputs ``x`` (n, ...), by path, in the order of running.

    As in :func:`inputs_of`.
    """
    seen: dict[str, list[Tensor]] = {}
    hooks = []
    for path in paths:

        def note(module: nn.Module, given: tuple[Tensor, ...], path: str = path) -> None:
            if len(given[0]) % len(x) == 0:  # else it sees something that all inputs share
                seen.setdefault(path, []).append(given[0].clone())  # the network may go on to change it in place

        hooks.append(victim.module.get_submodule(path).register_forward_pre_hook(note))
    try:
        victim.logits(params, x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


class Geometry(NamedTuple):
    """Kernel, stride, dilation and padding of a convolution, each (height, width)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]

    @classmethod
    def of(cls, module: nn.Conv1d | nn.Conv2d) -> "Geometry":
        """Return that of a convolution; a one-dimensional one has height 1."""
        kernel, stride, dilation = (_plane(size, 1) for size in (module.kernel_size, module.stride, module.dilation))
        padding = (0, 0) if isinstance(module.padding, str) else _plane(module.padding, 0)
        if module.padding == "same":
            padding = (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
        return cls(kernel, stride, dilation, padding)

    def patches(self, given: Tensor) -> Tensor:
        """Return the patches (n, positions, width) of what a convolution is given (n, channels, height, width)."""
        return unfold(given, self.kernel, self.dilation, self.padding, self.stride).transpose(1, 2)


def rows_of(module: nn.Module, given: Tensor) -> Tensor:
    """Return what a layer's weight multiplies, of its inputs (n, ...): (n, groups, positions, width)."""
    if not isinstance(module, nn.Conv1d | nn.Conv2d):
        return given.reshape(len(given), 1, -1, given.shape[-1])
    given = given[:, :, None] if isinstance(module, nn.Conv1d) else given
    patches = Geometry.of(module).patches(given)
    return patches.view(len(given), patches.shape[1], module.groups, -1).transpose(1, 2)


def middle(victim: Victim, share: float = 0.5) -> dict[str, Tensor]:
    """Return the parameters ``share`` of the way from before training to after it."""
    return {name: torch.lerp(value, victim.thetaf[name], share) for name, value in victim.theta0.items()}


def together(parts: list[Tensor], count: int) -> Tensor:
    """Return the rows of all uses of a layer; a network's own reshaping may fold inputs into positions or back."""
    parts = [part if len(part) == count else part.reshape(count, part.shape[1], -1, part.shape[3]) for part in parts]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _plane(given: tuple[int, ...], fill: int) -> tuple[int, int]:
    """Return an option of a convolution for two dimensions: a one-dimensional one has height 1."""
    return (given[0], given[1]) if len(given) == 2 else (fill, given[0])


def usable(module: nn.Module) -> bool:
    """Return whether the rows of a layer are known: not where the input is padded with other than zeros."""
    if not isinstance(module, nn.Conv1d | nn.Conv2d):
        return isinstance(module, nn.Linear)
    odd = all(size % 2 for size in module.kernel_size)
    return module.padding_mode == "zeros" and (module.padding != "same" or odd)
