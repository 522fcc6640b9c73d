"""Dummies that share one training record: superfluous ones of a set that is too large often come in pairs."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

SHARE = 0.1
"""Merging twins raises the loss by at most this share of what merging two unlike dummies does."""

REFERENCES = 8
"""Unlike pairs that are merged for comparison."""

Loss = Callable[[Tensor], float]


def twins(x: Tensor, labels: Tensor, influence: Tensor, loss: Loss) -> Tensor:
    """Return (n,) booleans: the dummies that a more influential one of their class makes superfluous.

    Training sees two halves of one record as that record. So each dummy and its most alike stronger one of the same
    class are both replaced by their mean, weighted by influence: where the change is then explained nearly as well as
    before, they stood for one record. Merging unlike dummies shows what the loss of a record costs.

    Args:
        x: (n, ...) inputs.
        labels: (n,) their classes, on the CPU.
        influence: (n,) their influences.
        loss: Attacker-visible loss of a set of inputs with these labels.
    """
    found, weights = torch.zeros(len(x), dtype=torch.bool), influence.detach().cpu()
    alike = _alike(x)
    pairs = []
    for dummy in range(len(x)):
        stronger = (labels == labels[dummy]) & (weights > weights[dummy])
        if bool(stronger.any()):
            pairs.append((dummy, int(alike[dummy].masked_fill(~stronger, -2.0).argmax())))
    if not pairs or len(x) < 3:
        return found
    base, stride = loss(x), -(-len(x) // REFERENCES)
    unlike = [(dummy, int(alike[dummy].argmin())) for dummy in range(0, len(x), stride)]
    costs = torch.tensor([loss(_merged(x, weights, *pair)) - base for pair in unlike])
    limit = base + SHARE * float(costs.median().clamp(min=0))
    for pair in pairs:
        found[pair[0]] = loss(_merged(x, weights, *pair)) <= limit
    return found


def _alike(x: Tensor) -> Tensor:
    """Return (n, n) correlations of inputs, on the CPU."""
    centred = normalize((x - x.mean(tuple(range(1, x.ndim)), keepdim=True)).flatten(1), dim=1)
    return (centred @ centred.T).cpu()


def _merged(x: Tensor, weights: Tensor, a: int, b: int) -> Tensor:
    share = float(weights[a] / (weights[a] + weights[b]).clamp(min=1e-30))
    merged = x.clone()
    merged[a] = merged[b] = share * x[a] + (1 - share) * x[b]
    return merged
