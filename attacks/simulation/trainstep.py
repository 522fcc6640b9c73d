"""One step of training as a pure function: a gradient of the loss, clipped, and an update; and its derivative.

A step's gradient is a sum over samples wherever batch norm does not see the batch, so that it can be computed a few
samples at a time. Its vector-Jacobian product needs the products of the loss's second derivatives with one direction
of the parameters: that is one forward-mode derivative of the gradient (forward over reverse; Kemaev et al., MixFlow-MG,
ICML 2025), which keeps no graph of a graph.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..contract.attack import Unsupported
from ..contract.params import Params
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from . import batchnorm
from .adjoints import Tensors, pulled
from .losses import CROSS_ENTROPY, Objective, goal_of, training_loss, viewed
from .updates import slots, update

_ONE_LEVEL = threading.RLock()
"""Torch knows one level of forward-mode derivatives in the whole process: threads take turns. For the CPU; on a CUDA
device, where one thread goes back for all, run scans in processes."""


@dataclass(frozen=True)
class TrainingStep:
    """A step of :func:`.dynamics.simulate`.

    Its state holds the parameters in the order of ``victim.theta0``, then the optimiser's memory, then (batch norm in
    train mode) the running statistics; its input holds samples (b, ...), labels, the step's number on the CPU,
    where reading it waits for no device, and, if given, a scalar that multiplies the learning rate.

    Attributes:
        victim: The network.
        recipe: The optimiser, its schedule, and the mode of batch norm.
        limit: Largest global norm of the gradient; infinity for none.
        samples: Samples that are computed at a time; 0 for all.
    """

    victim: Victim
    recipe: Recipe
    limit: float
    samples: int = 0

    def __call__(self, state: Tensors, item: Tensors) -> Tensors:
        """Return the state after the step."""
        theta, memory, running = self._parts(state)
        x, labels, count, *scales = item
        if self._plain:
            return self._descend(theta, running, x, labels, int(count), *scales)
        grads, running = self._gradient(theta, running, x, labels, int(count))
        theta, memory = update(self.recipe, theta, memory, clipped(grads, self.limit), int(count), *scales)
        return theta + memory + running

    def _descend(
        self, theta: Tensors, running: Tensors, x: Tensor, labels: Tensor, number: int, scale: Tensor | float = 1.0
    ) -> Tensors:
        """Do what :func:`.updates.update` does, the rate in the loss: no parameter is multiplied, here or backwards."""
        rate = self.recipe.rate(number) * scale
        moves, running = self._gradient(theta, running, x, labels, number, -rate)
        moves = clipped(moves, self.limit, rate)
        return tuple(a + b for a, b in zip(theta, moves, strict=True)) + running

    def split(self, samples: int) -> "TrainingStep":
        """Return the step computed ``samples`` at a time; itself where batch norm sees the whole batch."""
        return self if self._training else replace(self, samples=samples)

    def pull_back(
        self, state: Tensors, item: Tensors, bars: Tensors, need: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        """Return what :func:`.adjoints.reverse` returns, by forward over reverse."""
        theta, memory, running = self._parts(state)
        x, labels, count, *scales = item
        width, end, number = len(theta), len(theta) + len(memory), int(count)
        need_scales = need[len(state) + 3 :]
        grads = theta  # where the update is linear in the loss's gradient, its derivative needs no value of that
        if self.recipe.optimizer != "sgd" or self.limit < float("inf") or any(need_scales):
            with torch.no_grad():
                grads, _ = self._gradient(theta, running, x, labels, number)
        before = _leaves((*theta, *memory, *scales), [*need[:end], *need_scales])
        direct = self._pull_back_update(before, grads, number, bars[:end])
        del grads, before
        tangents, scale_bars = direct[end + len(scales) :], direct[end : end + len(scales)]
        wanted = [*need[:width], *need[end : len(state) + 2]]
        found = self._curvature((*theta, *running, x, labels), tangents, number, bars[end:], wanted)
        total = (_sum(a, b) for a, b in zip(direct[:width], found, strict=False))
        return (*total, *direct[width:end], *found[width:], None, *scale_bars)

    @property
    def _plain(self) -> bool:
        """Whether an update is the parameters minus the rate times the gradient."""
        return self.recipe.optimizer == "sgd" and not (self.recipe.momentum or self.recipe.weight_decay)

    @property
    def _training(self) -> bool:
        return self.recipe.batch_norm == "train"

    def _parts(self, state: Tensors) -> tuple[Tensors, Tensors, Tensors]:
        width = len(self.victim.theta0)
        end = width * (1 + slots(self.recipe))
        return state[:width], state[width:end], state[end:]

    def _chunks(self, x: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor, float]]:
        """Return inputs and labels of a few samples each, and what share of the batch they are."""
        size = self.samples or len(x)
        return [(a, b, len(a) / len(x)) for a, b in zip(torch.split(x, size), torch.split(labels, size), strict=True)]

    def _gradient(
        self, theta: Tensors, running: Tensors, x: Tensor, labels: Tensor, number: int, weight: Tensor | float = 1.0
    ) -> tuple[Tensors, Tensors]:
        """Return the gradient of ``weight`` times the loss, and the running statistics after it."""
        if self._training:
            return _train_gradient(self.victim, theta, running, x, labels, number, weight, goal_of(self.recipe))
        total: Tensors = ()
        for part, classes, share in self._chunks(x, labels):
            goal = goal_of(self.recipe)
            grads = gradient(self.victim, theta, part, classes, weight=share * weight, goal=goal)
            total = tuple(a + b for a, b in zip(total, grads, strict=True)) if total else grads
        return total, running

    def _pull_back_update(self, before: Tensors, grads: Tensors, number: int, bars: Tensors) -> tuple[Tensor, ...]:
        """Return the update's gradients with respect to what came before (parameters, memory, scale) and ``grads``."""
        width = len(grads)
        end = width * (1 + slots(self.recipe))
        with torch.enable_grad():
            grads = _leaves(grads)
            found = update(
                self.recipe, before[:width], before[width:end], clipped(grads, self.limit), number, *before[end:]
            )
        return pulled(list(zip(found[0] + found[1], bars, strict=True)), [*before, *grads])  # type: ignore[return-value]

    def _curvature(
        self, leaves: Tensors, tangents: Tensors, number: int, bars: Tensors, need: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients, through the loss's gradient and the running statistics, with respect to ``leaves``.

        Args:
            leaves: Parameters, running statistics, inputs, labels.
            tangents: Gradients with respect to the loss's gradient.
            number: Steps taken before this one.
            bars: Gradients with respect to the running statistics after the step.
            need: Whether each leaf needs its gradient.
        """
        if not any(need):
            return (None,) * len(leaves)
        *constant, x, labels = leaves
        total: list[Tensor | None] = []
        parts: list[Sequence[Tensor | None]] = []
        for part, classes, share in self._chunks(x, labels):
            values = _leaves((*constant, part, classes), need)
            found = self._directional(values, tangents, number, bars, share)
            total = [_sum(a, b) for a, b in zip(total or [None] * len(constant), found, strict=False)]
            parts.append(found[len(constant) :])
        joined = (None if part[0] is None else torch.cat(part) for part in zip(*parts, strict=True))
        return (*total, *joined)

    def _directional(
        self, leaves: Tensors, tangents: Tensors, number: int, bars: Tensors, share: float
    ) -> list[Tensor | None]:
        """Return the derivative along ``tangents`` (parameters) of the loss's gradient with respect to ``leaves``.

        The running statistics after the step count as a term of the loss whose weight rises from zero.
        """
        width, names = len(tangents), list(self.victim.theta0)
        running, x, labels = leaves[width:-2], leaves[-2], leaves[-1]
        wanted = [value for value in leaves if value.requires_grad]
        with torch.enable_grad(), _ONE_LEVEL, forward_ad.dual_level():
            duals = [forward_ad.make_dual(a, b) for a, b in zip(leaves[:width], tangents, strict=True)]  # type: ignore[no-untyped-call]
            params = dict(zip(names, duals, strict=True))
            x, labels = viewed(self.victim, x, labels, self.recipe.views)
            if self._training:
                logits, seen = _train_logits(self.victim, params, x)
                moved = batchnorm.advance(self.victim, running, seen, number)
                weight = forward_ad.make_dual(x.new_zeros(()), x.new_ones(()))  # type: ignore[no-untyped-call]
                extra = weight * sum((a * b).sum() for a, b in zip(moved, bars, strict=True))
            else:
                logits, extra = self.victim.logits(params, x), x.new_zeros(())
            loss = share * training_loss(logits, labels, goal_of(self.recipe)) + extra
            found = iter(torch.autograd.grad(loss, wanted, materialize_grads=True))
            return [_tangent(next(found)) if value.requires_grad else None for value in leaves]


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def _tangent(value: Tensor) -> Tensor:
    tangent: Tensor | None = forward_ad.unpack_dual(value).tangent  # type: ignore[no-untyped-call]
    return torch.zeros_like(value) if tangent is None else tangent.detach()


def gradient(
    victim: Victim,
    theta: Tensors,
    x: Tensor,
    labels: Tensor,
    statistics: Mapping[str, Tensor] = MappingProxyType({}),
    weight: Tensor | float = 1.0,
    goal: Objective = CROSS_ENTROPY,
) -> Tensors:
    """Return the gradient of the mean loss in the order of ``theta``; a graph if gradients are enabled.

    Batch norm is in eval mode; ``statistics`` replaces running statistics by their names in the state dict. ``weight``
    multiplies the loss, which is that of ``goal``.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        leaves = _attached(theta)
        x, labels = viewed(victim, x, labels, goal.views)
        logits = victim.logits({**statistics, **dict(zip(victim.theta0, leaves, strict=True))}, x)
        loss = weight * training_loss(logits, labels, goal)
        return torch.autograd.grad(loss, leaves, create_graph=create_graph, materialize_grads=True)


def _train_gradient(
    victim: Victim,
    theta: Tensors,
    running: Tensors,
    x: Tensor,
    labels: Tensor,
    number: int,
    weight: Tensor | float,
    goal: Objective,
) -> tuple[Tensors, Tensors]:
    """Return the gradient with batch norm in train mode, and the running statistics that the forward pass leaves.

    ``weight`` multiplies the loss, which is that of ``goal``.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        leaves = _attached(theta)
        x, labels = viewed(victim, x, labels, goal.views)
        logits, seen = _train_logits(victim, dict(zip(victim.theta0, leaves, strict=True)), x)
        loss = weight * training_loss(logits, labels, goal)
        grads = torch.autograd.grad(
            loss, leaves, create_graph=create_graph, materialize_grads=True, retain_graph=create_graph
        )
    if not create_graph:
        seen = {name: (mean.detach(), variance.detach(), count) for name, (mean, variance, count) in seen.items()}
    return grads, batchnorm.advance(victim, running, seen, number)


def _train_logits(victim: Victim, params: Params, x: Tensor) -> tuple[Tensor, batchnorm.Seen]:
    with batchnorm.train_mode(victim.module) as seen:
        try:
            return victim.logits(params, x), seen
        except ValueError as error:
            raise Unsupported(
                f"Batch norm in train mode cannot take a batch of {len(x)} ({error}).", "Give another --batch-size."
            ) from None


def _leaves(values: Tensors, need: Sequence[bool] | None = None) -> Tensors:
    need = [True] * len(values) if need is None else need
    return tuple(value.detach().requires_grad_(wanted) for value, wanted in zip(values, need, strict=True))


def _attached(theta: Tensors) -> Tensors:
    """Return ``theta`` as it is in the graph; what is in none as leaves of one."""
    return tuple(value if value.requires_grad else value.detach().requires_grad_() for value in theta)


def clipped(grads: Tensors, limit: float, unit: Tensor | float = 1.0) -> Tensors:
    """Rescale ``grads`` to a global norm of at most ``limit``, as :func:`torch.nn.utils.clip_grad_norm_` does.

    ``unit`` is the norm that counts as 1. On the CPU a limit that is not reached costs no graph; on other devices that
    would have to wait for the norm.
    """
    if limit == float("inf"):
        return grads
    if grads[0].device.type == "cpu":
        with torch.no_grad():
            if bool(global_norm(grads) + 1e-6 * unit <= limit * unit):
                return grads
    scale = (limit * unit / (global_norm(grads) + 1e-6 * unit)).clamp(max=1.0)
    return tuple(grad * scale for grad in grads)


def global_norm(grads: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all tensors as one long vector (a scalar)."""
    norms = [torch.linalg.vector_norm(grad) for grad in grads]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total
