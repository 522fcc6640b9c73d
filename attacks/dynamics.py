"""Training as a pure, differentiable function of the data: a chain of SGD steps over named parameters."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .adjoints import Adjoint, Step, Tensors
from .base import Recipe, Victim
from .params import Params


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
) -> Params:
    """Train from ``victim.theta0`` on dummy data and return the final parameters, differentiable in ``x``.

    Equal to :class:`torch.optim.SGD` (momentum, dampening, nesterov, weight decay) on mean cross-entropy with batch
    norm in eval mode (SimuDy, eq. 3).

    Args:
        victim: The network and its starting point.
        recipe: Learning rate, momentum, dampening, nesterov and weight decay.
        x: (n, c, h, w) normalised images.
        labels: (n,) class indices, on any device.
        plan: (S, b) which dummies each step uses, -1 for none; kept on the CPU so that no step waits for the device.
        adjoint: How the chain is differentiated.
        clip: Largest global norm of a step's gradient; the attack's regulariser, not part of the victim's training.
    """
    step, state, inputs = chain(victim, recipe, x, labels, plan, clip)
    final = adjoint.run(step, state, inputs)
    return dict(zip(victim.theta0, final, strict=False))


def chain(
    victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor, plan: Tensor, clip: float = float("inf")
) -> tuple[Step, Tensors, list[Tensors]]:
    """Return the pieces of :func:`simulate` for an adjoint: a pure step, the first state, the input of every step.

    The state holds the parameters in the order of ``victim.theta0``, then (with momentum) as many buffers.
    """
    theta0 = tuple(victim.theta0.values())
    buffers = tuple(torch.zeros_like(value) for value in theta0) if recipe.momentum else ()
    gains = [x.new_tensor(1.0 if t == 0 else 1.0 - recipe.dampening) for t in range(len(plan))]
    batches = [row[row >= 0].to(x.device) for row in plan]
    labels = labels.to(x.device)
    inputs: list[Tensors] = [(x[rows], labels[rows], gain) for rows, gain in zip(batches, gains, strict=True)]

    def step(state: Tensors, item: Tensors) -> Tensors:
        x, labels, gain = item
        theta = state[: len(theta0)]
        grads = clipped(gradient(victim, theta, x, labels), clip)
        return _sgd(recipe, theta, state[len(theta0) :], grads, gain)

    return step, theta0 + buffers, inputs


def gradient(victim: Victim, theta: Tensors, x: Tensor, labels: Tensor) -> Tensors:
    """Return the gradient of the mean cross-entropy in the order of ``theta``; a graph if gradients are enabled."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        leaves = tuple(value if value.requires_grad else value.detach().requires_grad_() for value in theta)
        logits = victim.logits(dict(zip(victim.theta0, leaves, strict=True)), x)
        return torch.autograd.grad(
            cross_entropy(logits, labels), leaves, create_graph=create_graph, materialize_grads=True
        )


def clipped(grads: Tensors, limit: float) -> Tensors:
    """Rescale ``grads`` to a global norm of at most ``limit``, as :func:`torch.nn.utils.clip_grad_norm_` does.

    On the CPU a limit that is not reached costs no graph; on other devices that would have to wait for the norm.
    """
    if limit == float("inf"):
        return grads
    if grads[0].device.type == "cpu":
        with torch.no_grad():
            if bool(_global_norm(grads) + 1e-6 <= limit):
                return grads
    scale = (limit / (_global_norm(grads) + 1e-6)).clamp(max=1.0)
    return tuple(grad * scale for grad in grads)


def _global_norm(grads: Sequence[Tensor]) -> Tensor:
    norms = [torch.linalg.vector_norm(grad) for grad in grads]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total


def _sgd(recipe: Recipe, theta: Tensors, buffers: Tensors, grads: Tensors, gain: Tensor) -> Tensors:
    if recipe.weight_decay:
        grads = tuple(torch.add(g, p, alpha=recipe.weight_decay) for g, p in zip(grads, theta, strict=True))
    if recipe.momentum:
        buffers = tuple(recipe.momentum * b + gain * g for b, g in zip(buffers, grads, strict=True))
        if recipe.nesterov:
            grads = tuple(torch.add(g, b, alpha=recipe.momentum) for g, b in zip(grads, buffers, strict=True))
        else:
            grads = buffers
    return (*(torch.add(p, g, alpha=-recipe.lr) for p, g in zip(theta, grads, strict=True)), *buffers)


def influence(victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor, plan: Tensor) -> Tensor:
    """Return (n,) norms of each dummy's loss gradients summed over training (SimuDy, section 4.5).

    Dummies that stand for a real image have a clearly larger influence than idle ones. One trajectory of
    parameters is kept; dummies are taken one at a time.

    Args:
        victim: As in :func:`simulate`, and so the other arguments.
        recipe: The same.
        x: The same.
        labels: The same.
        plan: The same.
    """
    sums: list[Tensor] = []
    labels = labels.to(x.device)
    with torch.no_grad():
        thetas = _trajectory(victim, recipe, x, labels, plan)
        for row in range(len(x)):
            total = [torch.zeros_like(value) for value in victim.theta0.values()]
            for theta, members in zip(thetas, plan, strict=True):
                if row in members:
                    grads = gradient(victim, theta, x[row : row + 1], labels[row : row + 1])
                    total = [a.add_(b) for a, b in zip(total, grads, strict=True)]
            sums.append(_global_norm(total))
    return torch.stack(sums)


def _trajectory(victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor, plan: Tensor) -> list[Tensors]:
    step, state, inputs = chain(victim, recipe, x, labels, plan)
    thetas = []
    for item in inputs:
        thetas.append(state[: len(victim.theta0)])
        state = step(state, item)
    return thetas
