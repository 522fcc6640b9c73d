"""Dummies that share one training image: superfluous ones of a set that is too large often come in pairs."""

from collections.abc import Callable

import torch
from torch import Tensor

SLACK, FLOOR = 1.5, 2e-3
"""Two dummies are twins if merging them leaves the loss below this many times its value, plus this much."""


def twins(x: Tensor, labels: Tensor, influence: Tensor, loss: Callable[[Tensor], float]) -> Tensor:
    """Return (n,) booleans: the dummies that a more influential one of their class makes superfluous.

    Training sees two halves of one image as that image. So each dummy and its most alike stronger one of the same
    class are both replaced by their mean, weighted by influence: where the change is explained as well as before,
    they stood for one image. Two different images do not survive that.

    Args:
        x: (n, c, h, w) images.
        labels: (n,) their classes, on the CPU.
        influence: (n,) their influences.
        loss: Attacker-visible loss of a set of images with these labels.
    """
    weights, limit = influence.detach().cpu(), SLACK * loss(x) + FLOOR
    centred = (x - x.mean((1, 2, 3), keepdim=True)).flatten(1)
    alike = torch.nn.functional.normalize(centred, dim=1) @ torch.nn.functional.normalize(centred, dim=1).T
    found = torch.zeros(len(x), dtype=torch.bool)
    for dummy in weights.argsort().tolist():
        stronger = (labels == labels[dummy]) & (weights > weights[dummy])
        if not bool(stronger.any()):
            continue
        twin = int(alike[dummy].cpu().masked_fill(~stronger, -2.0).argmax())
        share = float(weights[dummy] / (weights[dummy] + weights[twin]))
        merged = x.clone()
        merged[[dummy, twin]] = share * x[dummy] + (1 - share) * x[twin]
        found[dummy] = loss(merged) <= limit
    return found
