"""A cheap model of a whole training: gradients at both ends and in the middle, weighed to explain the change best.

The parameters went from before to after near the straight line between both. So the change is, nearly,
``-sum over k of w_k grad loss(theta0 + a_k (theta_f - theta0); x)`` for some weights that are not negative: no learning
rate, no number of steps, and three gradients however long the training was.
"""

from dataclasses import replace

import torch
from scipy.optimize import nnls
from torch import Tensor

from ..contract.params import Params, dot
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from ..layers.inputs import middle
from .inversion import predict

NODES = (0.0, 0.5, 1.0)
"""Shares of the way from before training to after it at which gradients are taken."""

RIDGE = 1e-9
"""Added to the Gram matrix of the gradients, times its trace."""


def chord(victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the sum of the gradients at :data:`NODES` that comes closest to the real change, differentiable in ``x``.

    The weights count as constants: at the best ones the distance has no slope by them.

    Args:
        victim: Before and after training.
        recipe: An SGD recipe.
        x: (n, ...) inputs.
        labels: (n,) class indices.
    """
    parts = [predict(replace(victim, theta0=middle(victim, node)), recipe, x, labels)[0] for node in NODES]
    weights = _weights(parts, victim.delta)
    return {name: sum((w * part[name] for w, part in zip(weights, parts, strict=True)), 0 * d)
            for name, d in victim.delta.items()}  # fmt: skip


@torch.no_grad()
def _weights(parts: list[dict[str, Tensor]], delta: Params) -> list[float]:
    """Return the weights, not negative, with which ``parts`` come closest to ``delta``."""
    parts = [{name: value.double() for name, value in part.items()} for part in parts]
    goal = {name: value.double() for name, value in delta.items()}
    gram = torch.stack([torch.stack([dot(a, b) for b in parts]) for a in parts])
    right = torch.stack([dot(a, goal) for a in parts])
    gram.diagonal().add_(RIDGE * float(gram.trace()) + 1e-300)
    factor = torch.linalg.cholesky(gram)
    seen = torch.linalg.solve_triangular(factor, right[:, None], upper=False)[:, 0]
    found, _ = nnls(factor.T.cpu().numpy(), seen.cpu().numpy())
    return [float(weight) for weight in found]
