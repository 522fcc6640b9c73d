"""Training as a pure, differentiable function of the data: a chain of optimiser steps over named tensors."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..contract.params import Params
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from . import batchnorm
from .adjoints import Adjoint, FullGraph, Segmented, Tensors
from .losses import goal_of, viewed
from .trainstep import TrainingStep, global_norm, gradient
from .updates import slots

_AT_ONCE = FullGraph()


def batch_plan(recipe: Recipe, size: int, generator: torch.Generator) -> Tensor:
    """Return which dummies each step trains on: (S, b) indices, -1 where a batch is not full.

    The dummies are dealt once to batches that then stay fixed (SimuDy, Algorithm 1, line 3).

    Args:
        recipe: Supplies the number of epochs and the batch size.
        size: Number of dummies.
        generator: Draws the partition; a full batch needs no draw, and its order is the identity.
    """
    width = min(recipe.batch_size, size)
    batches = -(-size // width)
    order = torch.randperm(size, generator=generator) if batches > 1 else torch.arange(size)
    padded = torch.full((batches * width,), -1)
    padded[:size] = order
    return padded.view(batches, width).repeat(recipe.epochs, 1)


def simulate(
    victim: Victim,
    recipe: Recipe,
    x: Tensor,
    labels: Tensor,
    plan: Tensor,
    *,
    adjoint: Adjoint,
    clip: float = float("inf"),
    scale: Tensor | None = None,
) -> Params:
    """Train from ``victim.theta0`` on dummy data and return what training leaves, differentiable in the data.

    Equal to :mod:`torch.optim` (SGD, Adam, AdamW), :func:`torch.nn.utils.clip_grad_norm_` and torch's schedulers on
    mean cross-entropy (SimuDy, eq. 3).

    Args:
        victim: The network and its starting point.
        recipe: The optimiser, its schedule, and the mode of batch norm.
        x: (n, ...) inputs; a step takes the mean loss over the versions of each that the recipe says.
        labels: (n,) class indices or (n, k) class probabilities, on any device; k is 2 for a single logit.
        plan: (S, b) which dummies each step uses, -1 for none; kept on the CPU so that no step waits for the device.
        adjoint: How the chain is differentiated.
        clip: Largest global norm of a step's gradient; the attack's regulariser, beside the recipe's own.
        scale: A scalar that multiplies every learning rate, where its derivative is wanted.

    Returns:
        The final parameters by name and, where batch norm is in train mode, the final running statistics.
    """
    step, state, inputs = chain(victim, recipe, x, labels, plan, clip=clip, scale=scale)
    final = adjoint.run(step, state, inputs)
    statistics = batchnorm.statistics(victim.module) if recipe.batch_norm == "train" else []
    found = dict(zip(victim.theta0, final, strict=False))
    return found | dict(zip(statistics, final[len(final) - len(statistics) :], strict=True))


def chain(
    victim: Victim,
    recipe: Recipe,
    x: Tensor,
    labels: Tensor,
    plan: Tensor,
    *,
    clip: float = float("inf"),
    scale: Tensor | None = None,
) -> tuple[TrainingStep, Tensors, list[Tensors]]:
    """Return the pieces of :func:`simulate` for an adjoint: a pure step, the first state, the input of every step.

    The state holds the parameters in the order of ``victim.theta0``, then the optimiser's memory, then (in train
    mode) the running statistics.
    """
    theta0 = tuple(victim.theta0.values())
    memory = tuple(torch.zeros_like(value) for _ in range(slots(recipe)) for value in theta0)
    training = recipe.batch_norm == "train"
    running = tuple(victim.buffers[name] for name in batchnorm.statistics(victim.module)) if training else ()
    limit = min(clip, recipe.clip or clip)
    scales = () if scale is None else (scale,)
    labels = labels.to(x.device)
    batches = _batches(x, labels, plan)
    # The step's number stays on the CPU: reading it waits for no device.
    inputs: list[Tensors] = [(*batch, torch.tensor(t), *scales) for t, batch in enumerate(batches)]

    return TrainingStep(victim, recipe, limit), theta0 + memory + running, inputs


def _batches(x: Tensor, labels: Tensor, plan: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return inputs and labels of every step; a batch that comes again is the same tensors, and so is a whole one."""
    found = {tuple(range(len(x))): (x, labels)}
    rows = [tuple(row[row >= 0].tolist()) for row in plan]
    for row in rows:
        if row not in found:
            index = torch.tensor(row, device=x.device)
            found[row] = x.index_select(0, index), labels.index_select(0, index)
    return [found[row] for row in rows]


def influence(
    victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor, plan: Tensor, adjoint: Adjoint = _AT_ONCE
) -> Tensor:
    """Return (n,) norms of each dummy's loss gradients summed over training (SimuDy, section 4.5).

    Dummies that stand for a real record have a clearly larger influence than idle ones. Dummies are taken one at a
    time. Where batch norm is in train mode, the statistics of a dummy's batch are taken as constant.

    Args:
        victim: As in :func:`simulate`, and so the other arguments.
        recipe: The same.
        x: The same.
        labels: The same.
        plan: The same.
        adjoint: How much memory there is: one that keeps the states of all steps has one trajectory of parameters
            kept; for another, training is simulated again for every few dummies, so that no more copies of the
            parameters are kept than it keeps.
    """
    labels = labels.to(x.device)
    few = isinstance(adjoint, Segmented) and adjoint.length != 1
    samples = adjoint.samples if isinstance(adjoint, Segmented) else 0
    found: list[Tensor] = []

    def walk() -> Iterator[tuple[Tensor, Tensors, dict[str, Tensor]]]:
        for members, theta in zip(plan, trajectory(victim, recipe, x, labels, plan, samples), strict=False):
            yield members, theta, batch_statistics(victim, recipe, theta, x[members[members >= 0]])

    with torch.no_grad():
        kept = [] if few else list(walk())
        for rows in torch.split(torch.arange(len(x)), math.isqrt(len(plan)) + 1 if few else 1):
            totals = {row: tuple(map(torch.zeros_like, victim.theta0.values())) for row in rows.tolist()}
            for members, theta, statistics in kept or walk():
                for row in totals.keys() & set(members.tolist()):
                    own = x[row : row + 1], labels[row : row + 1]
                    grads = gradient(victim, theta, *own, statistics, goal=goal_of(recipe))
                    for total, grad in zip(totals[row], grads, strict=True):
                        total += grad
            found += [global_norm(total) for total in totals.values()]
    return torch.stack(found)


def batch_statistics(victim: Victim, recipe: Recipe, theta: Tensors, x: Tensor) -> dict[str, Tensor]:
    """Return the running statistics with which eval mode gives what train mode gives on the batch ``x``."""
    if recipe.batch_norm == "eval":
        return {}
    x, _ = viewed(victim, x, x.new_zeros(len(x)), recipe.views)
    with batchnorm.train_mode(victim.module) as seen:
        victim.logits(dict(zip(victim.theta0, theta, strict=True)), x)
    return batchnorm.as_buffers(seen)


def trajectory(
    victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor, plan: Tensor, samples: int = 0
) -> Iterator[Tensors]:
    """Yield the parameters before each step of a training, each as a tuple in the order of ``victim.theta0``.

    ``samples`` of a step are computed at a time where its loss separates over them; 0 for all.
    """
    step, state, inputs = chain(victim, recipe, x, labels, plan)
    step = step.split(samples) if samples else step
    for item in inputs:
        yield state[: len(victim.theta0)]
        state = step(state, item)
