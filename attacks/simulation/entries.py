"""How large entries of a gradient are: the scale of Adam's epsilon where gradients are to pass through its update."""

import torch
from torch import Tensor

from ..contract.recipe import Recipe
from ..contract.victim import Victim
from .losses import goal_of
from .trainstep import gradient


def entry_size(victim: Victim, recipe: Recipe, labels: Tensor, gen: torch.Generator) -> Tensor:
    """Return (a scalar) the root mean square of a gradient's entries before training, on noise as strong as images.

    Args:
        victim: The network.
        recipe: Whose loss it is.
        labels: (n,) of so many records of noise.
        gen: Draws them.
    """
    x = torch.randn(len(labels), *victim.shape, generator=gen).to(victim.like)
    with torch.no_grad():
        grads = gradient(victim, tuple(victim.theta0.values()), x, labels.to(x.device), goal=goal_of(recipe))
        count = sum(grad.numel() for grad in grads)
        return (torch.stack([grad.square().sum() for grad in grads]).sum() / count).sqrt()
