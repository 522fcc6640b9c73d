"""Gradients of single records, tensor by tensor, in a form that stays small however large the network is.

Of a linear layer on vectors the gradient is an outer product, so that its two factors say all of it: inner products of
such gradients are products of inner products, and no gradient is built. Of every other tensor the gradient is computed
(of layers that multiply rows as in :mod:`.taps`, else by :func:`torch.func.vmap`) and, where it has many entries,
folded to few: random signs, then sums of entries that are a fixed distance apart. Inner products of folded gradients
are right on average, with a standard deviation of about ``|g| |h| / sqrt(width)``; what the change and the lengths need
is computed before that, exactly.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.utils._pytree import tree_map

from ..contract.attack import Unsupported, generator
from ..contract.params import Params
from ..contract.victim import Victim
from ..simulation.losses import CROSS_ENTROPY, Objective, training_loss
from .taps import gradients, names_of, shifted, taps

ENTRIES, NARROWEST = 32_768, 1024
"""Entries to which the gradients of all tensors are folded together by default, and those of one tensor at least."""

ROOM = 192 * 2**20
"""Bytes of the gradients that are computed at once."""

PIECE = 8 * 2**20
"""Bytes of the gradients by one layer that are built at once: more do not stay in the cache of a processor."""

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
        self.layers = taps(victim, change)
        self.vectors = {path for path, shape in self.layers.items() if len(shape) == 1 and goal.views == 1}
        self.whole = [name for name in change if name not in _within(self.layers)]
        self.built = [name for name in change if name not in _within(self.vectors)]
        self.width = _width([change[name].numel() for name in self.built], entries)
        gen = generator(0)
        self._signs = {
            name: torch.randint(2, (change[name].numel(),), generator=gen).mul_(2).sub_(1).to(victim.like)
            for name in self.built
            if change[name].numel() > self.width
        }

    @property
    def at_once(self) -> int:
        """How many records are computed at once."""
        together = sum(self.change[name].numel() for name in self.whole)
        passing = self.goal.views * sum(map(math.prod, self.layers.values()))
        size = 2 * max(together, 2 * passing) * self.victim.like.element_size()
        return max(min(ROOM // max(size, 1), MOST // self.goal.views), 1)

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
        views = self.goal.views
        shifts = {path: x.new_zeros(len(x), views, *shape) for path, shape in self.layers.items()}

        def loss(moving: Params, shifts: Params, x: Tensor, label: Tensor) -> tuple[Tensor, Params]:
            with shifted(self.victim.module, shifts) as seen:
                logits = self.victim.logits({**fixed, **moving}, x)
            return training_loss(logits, label.expand(len(x)), self.goal), seen

        (whole, outer), given = _each(grad(loss, argnums=(0, 1), has_aux=True), moving, shifts, x, labels)
        found = {name: self._folded(name, value.detach()) for name, value in whole.items()}
        for path, slope in outer.items():
            read = self._product if path in self.vectors else self._summed
            found |= read(path, slope.detach(), given[path].detach())
        return {name: found[name] for name in self.change}

    def _folded(self, name: str, value: Tensor) -> Part:
        flat = value.flatten(1)
        along = flat @ self.change[name].flatten()
        square = torch.linalg.vector_norm(flat, dim=1).double().square()
        return Part(along.double(), square, self._fold(name, flat) if name in self._signs else flat)

    def _fold(self, name: str, flat: Tensor) -> Tensor:
        """Return the sums (n, width) of entries (n, d) a fixed distance apart, each by its sign; d > width."""
        signed, whole = flat * self._signs[name], flat.shape[1] // self.width * self.width
        found = signed[:, :whole].view(len(flat), -1, self.width).sum(1)
        found[:, : flat.shape[1] - whole] += signed[:, whole:]
        return found

    def _product(self, path: str, slope: Tensor, given: Tensor) -> dict[str, Part]:
        """Return the gradients by weight and bias of a layer, by its outputs (n, 1, o) and its inputs (n, 1, i)."""
        slope, given = slope[:, 0], given[:, 0]
        weight, bias = names_of(path)
        square, found = slope.square().sum(1), {}
        if weight in self.change:
            along = ((slope @ self.change[weight]) * given).sum(1)
            found[weight] = Part(along.double(), (square * given.square().sum(1)).double(), slope, given)
        if bias in self.change:
            found[bias] = Part((slope @ self.change[bias]).double(), square.double(), slope)
        return found

    def _summed(self, path: str, slope: Tensor, given: Tensor) -> dict[str, Part]:
        """Return the gradients by weight and bias of a layer, as in :func:`.taps.gradients`, folded."""
        module = self.victim.module.get_submodule(path)
        found: dict[str, list[Part]] = {}
        weight = self.victim.theta0[names_of(path)[0]]
        patches = slope[0].numel() // len(weight) * getattr(module, "groups", 1) * weight[0].numel()
        size = max(weight.numel(), patches) * slope.element_size()
        for rows in torch.split(torch.arange(len(slope)), max(PIECE // size, 1)):
            for name, value in zip(names_of(path), gradients(module, given[rows], slope[rows]), strict=True):
                if name in self.change:
                    found.setdefault(name, []).append(self._folded(name, value))
        return {name: joined(parts) for name, parts in found.items()}


def _within(paths: Iterable[str]) -> set[str]:
    """Return the names of the weights and biases of layers."""
    return {name for path in paths for name in names_of(path)}


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
