"""Guesses of the dummies' labels; all that an attacker needs is how many samples each class has."""

import torch
from torch import Tensor

from .base import Victim


def guess(victim: Victim, size: int, generator: torch.Generator) -> Tensor:
    """Return (size,) labels in random order: balanced over the classes as far as the size allows.

    Balanced as in SimuDy, Algorithm 1, line 2. What is left over, or everything where there are fewer samples than
    classes, goes to the classes whose bias training raised most: under cross-entropy a logit's bias grows only if its
    class is in the data. Without a recognisable head it goes to random classes.
    """
    order = torch.randperm(victim.classes, generator=generator)
    change = head_change(victim)
    if change is not None and size < victim.classes and bool((change > 0).any()):
        labels = _proportional(change.clamp(min=0), size)
    else:
        ranked = order if change is None else change.argsort(descending=True, stable=True)
        labels = ranked.repeat(-(-size // victim.classes))[:size]
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
