"""A training as its recipe says, by plain :mod:`torch.optim`, not by the simulation that the attacks differentiate."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...attacks.contract.params import Params
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ...attacks.layers.decay import decomposed
from ...attacks.simulation import batchnorm
from ...attacks.simulation.losses import goal_of, training_loss

STRONGEST = 2
"""Directions of each tensor's change in which two trainings are compared: noise on a change hardly shows there."""


def trained(victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor, gen: torch.Generator) -> dict[str, Tensor]:
    """Return the parameters of a victim after its training on other inputs, and what batch norm then keeps.

    Args:
        victim: The network; training starts from its ``theta0``.
        recipe: Complete. Batches are dealt anew in every epoch; where it has versions of inputs, each step sees one
            of each, drawn anew, as a training that augments does.
        x: (n, ...) inputs as the network sees them.
        labels: (n,) their classes.
        gen: Deals the batches, and draws versions.
    """
    params = {name: value.detach().clone().requires_grad_() for name, value in victim.theta0.items()}
    optimizer = _optimizer(recipe, list(params.values()))
    rates = LambdaLR(optimizer, lambda step: recipe.rate(min(step, recipe.steps - 1)) / recipe.lr)
    statistics = batchnorm.statistics(victim.module)
    running, step = tuple(victim.buffers[name] for name in statistics), 0
    with _mode(victim, recipe) as seen:
        for _ in range(recipe.epochs):
            whole = recipe.batch_size >= len(x)
            order = torch.arange(len(x)) if whole else torch.randperm(len(x), generator=gen)
            for rows in torch.split(order, recipe.batch_size):
                optimizer.zero_grad()
                logits = victim.logits(params, _augmented(victim, recipe, x[rows], gen))
                loss = training_loss(logits, labels[rows].to(x.device), goal_of(recipe))
                loss.backward()  # type: ignore[no-untyped-call]
                if recipe.clip:
                    torch.nn.utils.clip_grad_norm_(params.values(), recipe.clip)
                optimizer.step()
                rates.step()
                with torch.no_grad():
                    running = batchnorm.advance(victim, running, seen, step)
                step += 1
    return {name: value.detach() for name, value in (*params.items(), *zip(statistics, running, strict=True))}


def _augmented(victim: Victim, recipe: Recipe, x: Tensor, gen: torch.Generator) -> Tensor:
    """Return inputs (b, ...) as one step sees them, each in a version of its own where the recipe has versions."""
    if recipe.views == 1:
        return x
    return torch.cat([victim.medium.versions(one, 2, gen)[1:] for one in torch.split(x, 1)])


def _mode(victim: Victim, recipe: Recipe) -> AbstractContextManager[batchnorm.Seen]:
    return batchnorm.train_mode(victim.module) if recipe.batch_norm == "train" else nullcontext({})


def _optimizer(recipe: Recipe, params: list[Tensor]) -> Optimizer:
    if recipe.optimizer == "sgd":
        dampening = recipe.dampening if recipe.momentum else 0.0
        return SGD(params, recipe.lr, recipe.momentum, dampening, recipe.weight_decay, nesterov=recipe.nesterov)
    kind = AdamW if recipe.optimizer == "adamw" else Adam
    return kind(params, recipe.lr, (recipe.beta1, recipe.beta2), recipe.eps, recipe.weight_decay)


def likeness(one: Params, two: Params) -> tuple[float, float]:
    """Return how alike two changes are: the cosine in [-1, 1], and the second's length along the first over its own.

    Matrices are compared within the strongest directions of ``one``, which holds no noise.
    """
    dot = own = other = 0.0
    for name, change in one.items():
        first, second = _strongest(change.double(), two[name].double())
        dot += float((first * second).sum())
        own += float(first.square().sum())
        other += float(second.square().sum())
    return dot / max((own * other) ** 0.5, 1e-30), dot / max(own, 1e-30)


def _strongest(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    if one.dim() < 2:  # a bias is few numbers, and mostly noise where there is some
        return one * 0, two * 0
    if min(one.flatten(1).shape) <= STRONGEST:
        return one, two
    one, two = one.flatten(1), two.flatten(1)
    if one.shape[0] > one.shape[1]:
        one, two = one.T, two.T
    left = decomposed(one)[1][:, :STRONGEST]
    right = torch.linalg.qr(one.T @ left).Q
    return left.T @ one @ right, left.T @ two @ right
