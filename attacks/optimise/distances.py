"""Dissimilarity of two parameter changes: the simulated one and the real one."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..contract.params import Params, cosine_distance, norm, subtract

Distance = Callable[[Params, Params], Tensor]


def euclidean(change: Params, delta: Params) -> Tensor:
    """Return ``|change - delta|^2 / |delta|^2`` (SimuDy, appendix B; made free of scale)."""
    return (norm(subtract(change, delta)) / norm(delta)) ** 2


def log_cosine(change: Params, delta: Params) -> Tensor:
    """Return ``0.1 log(cosine distance + 1e-6)``.

    The gradient of the plain cosine distance vanishes as the simulation comes close; the logarithm keeps the step
    in proportion to the remaining error (measured: docs/attacks.md).
    """
    return 0.1 * torch.log(cosine_distance(change, delta).clamp(min=0) + 1e-6)


DISTANCES: dict[str, Distance] = {"cosine": cosine_distance, "log_cosine": log_cosine, "euclidean": euclidean}
"""The distances by the name that an attack's ``distance`` option takes."""


def running_error(final: Params, running: Params, before: Params) -> Tensor:
    """Return the mean over batch-norm statistics of ``|simulated - real|^2 / |real - before|^2`` (a scalar).

    Args:
        final: Holds the simulated statistics after training.
        running: The real ones; others in ``final`` are left alone.
        before: Holds those before training.
    """
    errors = [
        (final[name] - value).square().sum() / (value - before[name]).square().sum().clamp(min=1e-12)
        for name, value in running.items()
    ]
    return torch.stack(errors).mean()
