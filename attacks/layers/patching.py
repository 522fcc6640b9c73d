"""Where a vision transformer cuts images into patches, and which table gives each patch its place.

A patch's embedding is ``z_l = W p_l + b + E_l``: the weight and row l of the table of positions get the same signal.
Both are found by that law, with a made-up image, whatever the network calls them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import fold, unfold

from ..contract.attack import Unsupported, generator
from ..contract.params import Params
from ..contract.victim import Victim

PREFIX = 8
"""Most rows of a table that come before those of the patches: class tokens, distillation tokens, registers."""

SAME = 1e-3
"""Largest relative difference of two signals that are taken for the same."""


@dataclass(frozen=True)
class Patching:
    """A patch embedding and its table of positions.

    Attributes:
        path: Name of the convolution whose stride is its kernel.
        table: Name of the parameter that holds the positions, one row each.
        prefix: Rows of it before those of the patches.
        kernel: Height and width of a patch.
        grid: Patches in a column and in a row.
    """

    path: str
    table: str
    prefix: int
    kernel: tuple[int, int]
    grid: tuple[int, int]

    def numbers(self, victim: Victim) -> Tensor:
        """Return it as whole numbers, which :meth:`of` understands: a state holds tensors alone."""
        paths = [path for path, _ in victim.module.named_modules()]
        return torch.tensor([paths.index(self.path), list(victim.delta).index(self.table), self.prefix])

    @classmethod
    def of(cls, victim: Victim, numbers: Tensor) -> "Patching":
        """Return what :meth:`numbers` made numbers of."""
        path, table, prefix = numbers.tolist()
        path = [name for name, _ in victim.module.named_modules()][path]
        height, width = victim.delta[f"{path}.weight".lstrip(".")].shape[2:]
        grid = (victim.shape[1] // height, victim.shape[2] // width)
        return cls(path, list(victim.delta)[table], prefix, (height, width), grid)

    @property
    def positions(self) -> int:
        """How many patches an image has."""
        return self.grid[0] * self.grid[1]

    @property
    def weight(self) -> str:
        """Name of the convolution's weight."""
        return f"{self.path}.weight".lstrip(".")

    def matrix(self, params: Params) -> Tensor:
        """Return the weight as a matrix (units, width), width the numbers in a patch."""
        return params[self.weight].flatten(1)

    def rows(self, params: Params) -> Tensor:
        """Return the rows (positions, units) of the table that belong to patches."""
        table = params[self.table]
        return table.reshape(-1, table.shape[-1])[self.prefix : self.prefix + self.positions]

    def cut(self, x: Tensor) -> Tensor:
        """Return the patches (n, positions, width) of inputs (n, c, h, w)."""
        return unfold(x, self.kernel, stride=self.kernel).transpose(1, 2)

    def joined(self, patches: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return inputs (n, *shape) of patches (n, positions, width); what no patch reaches is 0."""
        side = self.grid[0] * self.kernel[0], self.grid[1] * self.kernel[1]
        x = patches.new_zeros(len(patches), *shape)
        x[..., : side[0], : side[1]] = fold(patches.transpose(1, 2), side, self.kernel, stride=self.kernel)
        return x


def patching(victim: Victim) -> Patching:
    """Find the patch embedding and its table, both trained.

    Raises:
        Unsupported: There is none, or what is needed of it was not trained.
    """
    convolutions = [path for path, module in victim.module.named_modules() if _cuts(module, victim)]
    if not convolutions:
        raise Unsupported("no convolution of the network cuts images into patches, as that of a vision transformer.")
    trained = [path for path in convolutions if f"{path}.weight".lstrip(".") in victim.delta]
    if not trained:
        raise Unsupported("the weight of the patch embedding was not trained, so that its change shows no patch.")
    found = [whole for path in trained if (whole := _placed(victim, path)) is not None]
    if not found:
        raise Unsupported(
            "no table of positions was trained with the patch embedding: the changes of weight and bias alone do not "
            "tell which patch got which signal."
        )
    return found[0]


def _cuts(module: nn.Module, victim: Victim) -> bool:
    """Return whether a module is a convolution that multiplies each patch of an image once."""
    if not isinstance(module, nn.Conv2d) or len(victim.shape) != 3:
        return False
    grid = [side // size for side, size in zip(victim.shape[1:], module.kernel_size, strict=True)]
    plain = module.padding in ((0, 0), "valid") and module.dilation == (1, 1) and module.groups == 1
    whole = module.kernel_size == module.stride and max(module.kernel_size) > 1 and grid[0] * grid[1] > 1
    return plain and whole and module.in_channels == victim.shape[0]


def _placed(victim: Victim, path: str) -> Patching | None:
    """Return a convolution with the table whose rows get the signals of its outputs, ``None`` where none does."""
    units, _, height, width = victim.delta[f"{path}.weight".lstrip(".")].shape
    grid = (victim.shape[1] // height, victim.shape[2] // width)
    positions = grid[0] * grid[1]
    sized = {name: value.shape for name, value in victim.delta.items() if value.shape[-1:] == (units,)}
    names = [name for name, shape in sized.items() if 0 <= shape.numel() // units - positions <= PREFIX]
    signals, reached = _signals(victim, path, names)
    if signals is None or not float(signals.norm()):
        return None
    for name, table in reached.items():
        rows = table.reshape(-1, units)
        for prefix in range(len(rows) - positions + 1):
            apart = float((rows[prefix : prefix + positions] - signals).norm() / signals.norm())
            if apart <= SAME:
                return Patching(path, name, prefix, (height, width), grid)
    return None


def _signals(victim: Victim, path: str, names: list[str]) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Return the signals (positions, units) of a convolution's outputs for noise, and the gradients of parameters.

    After training: a head of zeros, as it may start, sends no signals back.
    """
    seen: list[Tensor] = []
    params = {name: value.detach().requires_grad_(name in names) for name, value in victim.thetaf.items()}
    x = torch.randn(1, *victim.shape, generator=generator(0)).to(victim.like)
    hook = victim.module.get_submodule(path).register_forward_hook(lambda module, given, out: seen.append(out))
    try:
        logits = victim.logits(params, x.requires_grad_())
    finally:
        hook.remove()
    if len(seen) != 1 or seen[0].dim() != 4:
        return None, {}
    weights = torch.randn(logits.shape, generator=generator(1)).to(logits)
    wanted = [seen[0], *(params[name] for name in names)]
    grads = torch.autograd.grad((logits * weights).sum(), wanted, allow_unused=True)
    if grads[0] is None:
        return None, {}
    reached = {name: grad for name, grad in zip(names, grads[1:], strict=True) if grad is not None}
    return grads[0].sum(0).flatten(1).T, reached
