"""Parameter changes as weighted sums of the samples' gradients, at one or several points of training."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from ..contract.params import Params
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from ..simulation import batchnorm
from ..simulation.dynamics import batch_statistics

Weigh = Callable[[Tensor, slice], Tensor]
"""From logits (b, k) and the rows that they belong to, a scalar: the sum over samples of what is differentiated."""

Point = tuple[Params, Weigh]
"""Parameters of the network, and what of its logits there is differentiated by them."""


def combine(victim: Victim, recipe: Recipe, points: Sequence[Point], x: Tensor) -> dict[str, Tensor]:
    """Return the sum over points of the gradients of what each weighs, by name, a graph if gradients are enabled.

    Args:
        victim: The network.
        recipe: Where its batch norm was in train mode, ``x`` is one batch.
        points: Where gradients are taken, and of what.
        x: (m, ...) inputs.
    """
    mode = batchnorm.train_mode(victim.module) if recipe.batch_norm == "train" else nullcontext()
    with mode:
        return _total(victim, points, x, slice(None))


def shares(victim: Victim, recipe: Recipe, points: Sequence[Point], x: Tensor) -> Tensor:
    """Return (m,) norms of what each dummy alone adds to :func:`combine`: how much of the change it explains."""
    found = []
    with torch.no_grad():
        seen = [batch_statistics(victim, recipe, tuple(theta.values()), x) for theta, _ in points]
        fixed = [({**statistics, **theta}, weigh) for (theta, weigh), statistics in zip(points, seen, strict=True)]
        for row in range(len(x)):
            alone = _total(victim, fixed, x, slice(row, row + 1))
            found.append(torch.stack([value.square().sum() for value in alone.values()]).sum().sqrt())
    return torch.stack(found)


def classes(duals: Tensor) -> Tensor:
    """Return (m,) labels on the CPU: the logit that each dummy's duals (m, k) raise most; of one logit, whether."""
    labels = duals.argmax(1) if duals.shape[1] > 1 else duals[:, 0] > 0
    return labels.long().cpu()


def _total(victim: Victim, points: Sequence[Point], x: Tensor, rows: slice) -> dict[str, Tensor]:
    create_graph = torch.is_grad_enabled()
    total: dict[str, Tensor] = {}
    with torch.enable_grad():
        for theta, weigh in points:
            leaves = {name: theta[name].detach().requires_grad_() for name in victim.theta0}
            weighed = weigh(victim.logits({**theta, **leaves}, x[rows]), rows)
            grads = torch.autograd.grad(
                weighed, list(leaves.values()), create_graph=create_graph, materialize_grads=True
            )
            named = zip(leaves, grads, strict=True)
            total = {name: total[name] + grad if total else grad for name, grad in named}
    return total
