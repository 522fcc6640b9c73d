"""How linear a training is: whether each sample's gradient keeps its direction from epoch to epoch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import grad, vmap

from ..contract.params import Params
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from .adjoints import Tensors
from .dynamics import batch_plan, batch_statistics, chain
from .losses import training_loss
from .trainstep import gradient

CHUNK = 2**26
"""Numbers in one chunk of per-sample gradients on a GPU: as many samples are treated together as fit, at least one."""

Point = tuple[Tensors, Params]
"""Parameters, and the statistics that batch norm uses with them where those of the victim are not used."""

Gradients = Callable[[Point, Tensor, Tensor], Tensors]
Progress = Callable[[int, int], None]


def linearity(
    victim: Victim,
    recipe: Recipe,
    x: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    progress: Progress = lambda done, total: None,
    *,
    chunk: int | None = None,
) -> Tensor:
    """Return each sample's mean cosine between its gradients at two different epochs (SimuDy, appendix A, eq. 6).

    Their mean is M_lin = 2 / (m T (T - 1)) sum_i sum_{t1 < t2} cos(g_{i,t1}, g_{i,t2}), in [-1, 1]; the paper's sum
    over t1 != t2 with the same factor would reach 2. g_{i,t} is the gradient of sample i's cross-entropy at the
    parameters at the start of epoch t. Cosines with a gradient that is zero in floating point (a sample that is
    fitted completely) count as 0. With batch norm in train mode, g_{i,t} uses the statistics of the sample's batch
    at these parameters, taken as constants.

    The sum over pairs is that of the unit gradients u_t: |sum_t u_t|^2 = sum_t |u_t|^2 + 2 sum_{t1 < t2} cos. So T
    copies of the parameters are kept, and one running sum for each sample of a chunk.

    Args:
        victim: The network and its starting point; where it ended is not used.
        recipe: The training; at least two epochs.
        x: (m, ...) inputs.
        labels: (m,) class indices.
        generator: Deals the samples to batches.
        progress: Called with the number of samples done so far and of all.
        chunk: Samples treated together. By default as many as :data:`CHUNK` allows on a GPU; one on the CPU, where
            more are not faster (an MLP) or four times slower (a ResNet-18).

    Returns:
        (m,) float64 on the CPU; NaN where the training diverged.
    """
    if recipe.epochs < 2:
        raise ValueError("linearity compares epochs: the recipe needs at least two")
    labels, plan = labels.to(x.device), batch_plan(recipe, len(x), generator)
    found, done = torch.zeros(len(x), dtype=torch.float64), 0
    with torch.no_grad():
        thetas = _epochs(victim, recipe, x, labels, plan)
        gradients, width = _gradients(victim, (thetas[0], {}), x[:1], labels[:1], chunk or _fitting(victim))
        for row in plan[: len(plan) // recipe.epochs]:
            members = row[row >= 0]
            points = [(theta, batch_statistics(victim, recipe, theta, x[members.to(x.device)])) for theta in thetas]
            for part in members.split(width):
                rows = part.to(x.device)
                found[part] = _cosines(gradients, points, x[rows], labels[rows])
                done += len(part)
                progress(done, len(x))
    return found


def _fitting(victim: Victim) -> int:
    if victim.like.device.type == "cpu":
        return 1
    return max(CHUNK // sum(value.numel() for value in victim.theta0.values()), 1)


def _epochs(victim: Victim, recipe: Recipe, x: Tensor, labels: Tensor, plan: Tensor) -> list[Tensors]:
    """Return the parameters at the start of every epoch; those between two epochs are not kept."""
    step, state, inputs = chain(victim, recipe, x, labels, plan)
    batches = len(plan) // recipe.epochs
    thetas = [state[: len(victim.theta0)]]
    for number, item in enumerate(inputs[: len(inputs) - batches], 1):
        state = step(state, item)
        if number % batches == 0:
            thetas.append(state[: len(victim.theta0)])
    return thetas


def _gradients(victim: Victim, point: Point, x: Tensor, labels: Tensor, width: int) -> tuple[Gradients, int]:
    """Return what computes per-sample gradients, and of how many samples at once.

    That is ``width``, or 1 where ``vmap`` cannot treat the network: tried on the one sample ``x`` with its label.
    """

    def loss(params: Params, statistics: Params, x: Tensor, label: Tensor) -> Tensor:
        return training_loss(victim.logits({**statistics, **params}, x[None]), label[None])

    batched = vmap(grad(loss), in_dims=(None, None, 0, 0))

    def together(point: Point, x: Tensor, labels: Tensor) -> Tensors:
        theta, statistics = point
        found: Params = batched(dict(zip(victim.theta0, theta, strict=True)), statistics, x, labels)
        return tuple(found[name] for name in victim.theta0)

    def alone(point: Point, x: Tensor, labels: Tensor) -> Tensors:
        theta, statistics = point
        return tuple(value[None] for value in gradient(victim, theta, x, labels, statistics))

    if width == 1:
        return alone, 1
    try:
        together(point, x, labels)
    except Exception:  # third-party code may fail in any way; what fails alone too is raised there
        return alone, 1
    return together, width


def _cosines(gradients: Gradients, points: Sequence[Point], x: Tensor, labels: Tensor) -> Tensor:
    """Return (b,) mean cosines over all pairs of ``points``."""
    total = [value.new_zeros(len(x), *value.shape) for value in points[0][0]]
    alive = torch.zeros(len(x), dtype=torch.float64)
    for point in points:
        grads = gradients(point, x, labels)
        norms = _norms(grads)
        scale = torch.where(norms == 0, 0, 1 / norms).to(x)
        for part, value in zip(total, grads, strict=True):
            part.addcmul_(value, scale.view(-1, *[1] * (value.ndim - 1)))
        alive += (norms != 0).cpu()
    return (_norms(total).cpu() ** 2 - alive) / (len(points) * (len(points) - 1))


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of each row over all tensors, in float64; NaN where one overflows."""
    # Summed over one output at a time: over millions of float32 numbers at once, the fourth digit would be wrong.
    rows = [value.reshape(len(value), *value.shape[1:2], -1) for value in tensors]
    parts = [torch.linalg.vector_norm(value, dim=-1).double().view(len(value), -1) for value in rows]
    norms: Tensor = torch.linalg.vector_norm(torch.cat(parts, dim=1), dim=1)
    return norms.where(norms.isfinite(), torch.nan)
