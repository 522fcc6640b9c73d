"""Guesses of the dummies' labels; all that an attacker needs is how many samples each class has."""

import torch
from torch import Tensor

from .base import Victim


def guess(victim: Victim, size: int, generator: torch.Generator) -> Tensor:
    """Return (size,) labels in random order: balanced over the classes, or over those that training favoured.

    With at least one sample a class, classes are assumed balanced (SimuDy, Algorithm 1, line 2). With fewer, samples
    go to the classes whose bias grew: under cross-entropy a logit's bias grows only if its class is in the data
    (design notes, section 13.5).
    """
    order = torch.randperm(victim.classes, generator=generator)
    change = head_change(victim)
    if size < victim.classes and change is not None and bool((change > 0).any()):
        labels = _proportional(change.clamp(min=0), size)
    else:
        labels = order.repeat(-(-size // victim.classes))[:size]
    return labels[torch.randperm(size, generator=generator)]


def head_change(victim: Victim) -> Tensor | None:
    """Return (k,) how much training raised each class's logit bias, or ``None`` without a recognisable head.

    Read off the last parameter with one entry a class; where that is a weight (k, features), its row sums serve,
    as features after a ReLU are not negative.
    """
    for value in reversed(list(victim.delta.values())):
        if value.shape[:1] == (victim.classes,) and value.dim() <= 2:
            return (value if value.dim() == 1 else value.sum(1)).detach().cpu()
    return None


def _proportional(weights: Tensor, size: int) -> Tensor:
    """Deal ``size`` samples in proportion to ``weights`` (k,), first one to each of the heaviest classes."""
    counts = torch.zeros_like(weights)
    for _ in range(size):
        # The class that is furthest below its share, an empty class before any other (highest averages).
        counts[torch.where(counts == 0, weights * size, weights / (counts + 1)).argmax()] += 1
    return torch.repeat_interleave(torch.arange(len(weights)), counts.long())
