"""How much of a parameter change the gradients of given records explain, whatever the weight of each.

Under SGD the change is a sum of gradients of the training records along the way. Those of the right records at the two
ends of the first half of that way span most of it; those of other records do not. Which label a record had is read off
the two networks: training raised its probability most.
"""

import torch
from torch import Tensor

from ..contract.attack import generator
from ..contract.params import Params
from ..contract.victim import Victim
from ..layers.inputs import middle
from ..simulation.losses import CROSS_ENTROPY, Objective, training_loss, viewed

NODES = (0.0, 0.5)
"""Shares of the way from before training to after it at which gradients are taken."""

ENTRIES = 8192
"""Most entries of one tensor that are compared: drawn once, the same for all records."""

RIDGE = 1e-6
"""Added to the Gram matrix of unit columns."""


@torch.no_grad()
def learned(victim: Victim, x: Tensor) -> Tensor:
    """Return (n,) the class of each input (n, ...) whose probability training raised most."""
    before, after = (victim.logits(params, x) for params in (victim.theta0, victim.thetaf))
    if victim.classes == 1:
        return (after > before)[:, 0].long()
    return (after.log_softmax(1).exp() - before.log_softmax(1).exp()).argmax(1)


class Explained:
    """A parameter change, against which gradients of records are held.

    Each tensor counts alike, by up to :data:`ENTRIES` of its entries. Weight decay is free.
    """

    def __init__(self, victim: Victim, change: Params, goal: Objective = CROSS_ENTROPY) -> None:
        gen = generator(0)
        self.victim, self.goal = victim, goal
        self._at = {name: torch.randperm(value.numel(), generator=gen)[:ENTRIES] for name, value in change.items()}
        self._at = {name: rows.to(victim.like.device) for name, rows in self._at.items()}
        self._scale = {name: _length(change[name].flatten()[rows]) for name, rows in self._at.items()}
        self._change = self._vector(change)
        self._points = [middle(victim, node) for node in NODES]
        self._fixed = [self._vector(victim.theta0)]

    def unexplained(self, columns: Tensor) -> float:
        """Return the share of the change, in [0, 1], that no sum of gradients :meth:`columns` (m, d) explains."""
        whole = torch.cat([columns, *(column[None] for column in self._fixed)]).double()
        whole = whole / (whole.norm(dim=1, keepdim=True) + 1e-30)
        target = self._change.double()
        gram, right = whole @ whole.T, whole @ target
        gram.diagonal().add_(RIDGE)
        weights = torch.linalg.solve(gram, right)
        return float((target - weights @ whole).square().sum() / target.square().sum())

    def columns(self, x: Tensor) -> Tensor:
        """Return (2 n, d) the gradients of inputs (n, ...) one by one, each record's at all nodes together."""
        labels = learned(self.victim, x)
        return torch.stack([self._gradient(point, x[i], labels[i]) for i in range(len(x)) for point in self._points])

    def _gradient(self, point: Params, x: Tensor, label: Tensor) -> Tensor:
        params = {name: value.detach().requires_grad_() for name, value in point.items()}
        inputs, labels = viewed(self.victim, x[None], label[None], self.goal.views)
        loss = training_loss(self.victim.logits(params, inputs), labels, self.goal)
        names = list(self._at)
        found = torch.autograd.grad(loss, [params[name] for name in names], allow_unused=True)
        pairs = zip(names, found, strict=True)
        return self._vector({n: torch.zeros_like(params[n]) if g is None else g for n, g in pairs})

    def _vector(self, tensors: Params) -> Tensor:
        parts = [tensors[name].detach().flatten()[rows] / self._scale[name] for name, rows in self._at.items()]
        return torch.cat(parts)


def _length(values: Tensor) -> float:
    return float(values.norm()) or 1.0
