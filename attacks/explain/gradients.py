"""Gradients of single records, tensor by tensor, in a form that stays small however large the network is.

Of a linear layer on vectors the gradient is an outer product, so that its two factors say all of it: inner products of
such gradients are products of inner products, and no gradient is built. Of every other tensor the gradient is computed
(:func:`torch.func.vmap`) and, where it has many entries, folded to few: random signs, then sums of entries that are a
fixed distance apart. Inner products of folded gradients are right on average, with a standard deviation of about
``|g| |h| / sqrt(width)``; what the change and the lengths need is computed before that, exactly.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.functional import pad
from torch.utils._pytree import tree_map

from ..contract.attack import Unsupported, generator
from ..contract.params import Params
from ..contract.victim import Victim
from ..simulation.losses import CROSS_ENTROPY, Objective, training_loss

ENTRIES, NARROWEST = 32_768, 1024
"""Entries to which the gradients of all tensors are folded together by default, and those of one tensor at least."""

ROOM = 192 * 2**20
"""Bytes of the gradients that are computed at once."""

MOST = 64
"""Records whose gradients are computed at once, at most."""


@dataclass(frozen=True)
class Part:
    """Gradients of n records by one tensor.

    Attributes:
        along: (n,) inner products with the change of the tensor, float64.
        square: (n,) squared lengths, float64.
        left: (n, d) the gradients, folded or whole; or those by the outputs of a linear layer.
        right: (n, e) what a linear layer was given; ``None`` where ``left`` says all.
    """

    along: Tensor
    square: Tensor
    left: Tensor
    right: Tensor | None = None

    def products(self, other: "Part") -> Tensor:
        """Return (n, n) the inner products of these gradients with others of the same records, float64.

        Those of one with itself are exact.
        """
        found = (self.left @ other.left.T).double()
        if self.right is not None and other.right is not None:
            found *= (self.right @ other.right.T).double()
        if other is self:
            found.diagonal().copy_(self.square)
        return found

    def room(self, count: int) -> "Part":
        """Return room for the gradients of ``count`` records of this kind."""
        along, square, left = (part.new_empty(count, *part.shape[1:]) for part in (self.along, self.square, self.left))
        right = None if self.right is None else self.right.new_empty(count, *self.right.shape[1:])
        return Part(along, square, left, right)

    def put(self, rows: Tensor, part: "Part") -> None:
        """Put the gradients of some records into their rows."""
        own, other = (self.along, self.square, self.left, self.right), (part.along, part.square, part.left, part.right)
        for place, value in zip(own, other, strict=True):
            if place is not None and value is not None:
                place[rows] = value


class Gradients:
    """Reads the gradients of records by every tensor of a change.

    Args:
        victim: The network.
        change: The tensors by which gradients are taken.
        goal: What training minimised; each record has as many inputs as it has views, whose mean loss counts.
        entries: To which the gradients of one record by all tensors are folded together, as far as
            :data:`NARROWEST` allows.
    """

    def __init__(self, victim: Victim, change: Params, goal: Objective = CROSS_ENTROPY, entries: int = ENTRIES) -> None:
        self.victim, self.change, self.goal = victim, change, goal
        self.layers = _vector_layers(victim, change) if goal.views == 1 else {}
        inner = {f"{path}.{name}".lstrip(".") for path in self.layers for name in ("weight", "bias")}
        self.whole = [name for name in change if name not in inner]
        self.width = _width([change[name].numel() for name in self.whole], entries)
        gen = generator(0)
        self._signs = {
            name: torch.randint(2, (change[name].numel(),), generator=gen).mul_(2).sub_(1).to(victim.like)
            for name in self.whole
            if change[name].numel() > self.width
        }

    @property
    def at_once(self) -> int:
        """How many records are computed at once."""
        size = sum(self.change[name].numel() for name in self.whole) * self.victim.like.element_size()
        return max(min(ROOM // max(2 * size, 1), MOST // self.goal.views), 1)

    def read(self, point: Params, x: Tensor, labels: Tensor) -> dict[str, Part]:
        """Return gradients of the loss of inputs ``x`` (n, views, ...) with ``labels`` (n,) at ``point``, by tensor."""
        found: dict[str, Part] = {}
        for rows in torch.split(torch.arange(len(x)), self.at_once):
            for name, part in self._chunk(point, x[rows], labels[rows].to(x.device)).items():
                # One place for all: small parts kept between large gradients would hold their memory.
                found.setdefault(name, part.room(len(x))).put(rows, part)
        return found

    def _chunk(self, point: Params, x: Tensor, labels: Tensor) -> dict[str, Part]:
        fixed = {name: value.detach() for name, value in point.items()}
        moving = {name: fixed.pop(name) for name in self.whole}
        shifts = {path: x.new_zeros(len(x), units) for path, units in self.layers.items()}

        def loss(moving: Params, shifts: Params, x: Tensor, label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            with _shifted(self.victim.module, shifts) as seen:
                logits = self.victim.logits({**fixed, **moving}, x)
            return training_loss(logits, label.expand(len(x)), self.goal), {
                path: value[0] for path, value in seen.items()
            }

        (whole, outer), given = _each(grad(loss, argnums=(0, 1), has_aux=True), moving, shifts, x, labels)
        found = {name: self._folded(name, value.detach()) for name, value in whole.items()}
        for path, slope in outer.items():
            found |= self._product(path, slope.detach(), given[path].detach())
        return {name: found[name] for name in self.change}

    def _folded(self, name: str, value: Tensor) -> Part:
        flat = value.flatten(1)
        along = flat @ self.change[name].flatten()
        square = flat.square().sum(1)
        if name in self._signs:
            flat = flat * self._signs[name]
            flat = pad(flat, (0, -flat.shape[1] % self.width)).view(len(flat), -1, self.width).sum(1)
        return Part(along.double(), square.double(), flat)

    def _product(self, path: str, slope: Tensor, given: Tensor) -> dict[str, Part]:
        """Return the gradients by weight and bias of a layer, of those by its outputs (n, o) and its inputs (n, i)."""
        weight, bias = (f"{path}.{name}".lstrip(".") for name in ("weight", "bias"))
        square, found = slope.square().sum(1), {}
        if weight in self.change:
            along = ((slope @ self.change[weight]) * given).sum(1)
            found[weight] = Part(along.double(), (square * given.square().sum(1)).double(), slope, given)
        if bias in self.change:
            found[bias] = Part((slope @ self.change[bias]).double(), square.double(), slope)
        return found


def _each(slope: Callable[..., Any], moving: Params, shifts: Params, x: Tensor, labels: Tensor) -> Any:
    """Return what ``slope`` gives for each record, stacked: all at once, or one by one for networks that forbid that.

    Raises:
        Unsupported: The network cannot be differentiated so.
    """
    try:
        return vmap(slope, in_dims=(None, 0, 0, 0), randomness="different")(moving, shifts, x, labels)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # an operation in place, or one without a rule for batches
        parts = ({path: value[i] for path, value in shifts.items()} for i in range(len(x)))
    try:
        return tree_map(
            lambda *each: torch.stack(each), *(slope(moving, p, x[i], labels[i]) for i, p in enumerate(parts))
        )
    except RuntimeError as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unsupported(f"Gradients of single records cannot be computed of this network ({why}).") from None


def _width(sizes: list[int], entries: int) -> int:
    """Return the largest power of two that keeps all folded gradients of one record within so many entries."""
    width = 1 << max(entries.bit_length() - 1, 0)
    while width > NARROWEST and sum(min(size, width) for size in sizes) > entries:
        width //= 2
    return width


def joined(parts: Iterable[Part]) -> Part:
    """Return the gradients of several lots of records as one."""
    parts = list(parts)
    right = [part.right for part in parts if part.right is not None]
    return Part(
        torch.cat([part.along for part in parts]),
        torch.cat([part.square for part in parts]),
        torch.cat([part.left for part in parts]),
        torch.cat(right) if right else None,
    )


def _vector_layers(victim: Victim, change: Params) -> dict[str, int]:
    """Return the outputs of every trained linear layer that sees each record once, as one vector, by its path."""
    seen: dict[str, list[torch.Size]] = {}
    hooks = [
        module.register_forward_pre_hook(_noting(seen.setdefault(path, [])))
        for path, module in victim.module.named_modules()
        if type(module) is nn.Linear and f"{path}.weight".lstrip(".") in change
    ]
    try:
        with torch.no_grad():
            victim.logits(victim.theta0, victim.like.new_zeros(2, *victim.shape))
    finally:
        for hook in hooks:
            hook.remove()
    units = {path: len(victim.theta0[f"{path}.weight".lstrip(".")]) for path in seen}
    return {path: units[path] for path, shapes in seen.items() if len(shapes) == 1 and _is_vectors(shapes[0])}


def _is_vectors(shape: torch.Size) -> bool:
    return len(shape) == 2 and shape[0] == 2


def _noting(shapes: list[torch.Size]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda _, fed: shapes.append(fed[0].shape)


@contextmanager
def _shifted(module: nn.Module, shifts: Params) -> Iterator[dict[str, Tensor]]:
    """Add ``shifts`` to what layers return inside the block; give what they were fed."""
    seen: dict[str, Tensor] = {}

    def hook(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def shift(_: nn.Module, fed: tuple[Tensor, ...], out: Tensor) -> Tensor:
            seen[path] = fed[0]
            return out + shifts[path]

        return shift

    hooks = [module.get_submodule(path).register_forward_hook(hook(path)) for path in shifts]
    try:
        yield seen
    finally:
        for handle in hooks:
            handle.remove()
