"""Arithmetic on named parameters: ordered mappings from a tensor's name to a tensor.

All mappings that meet in one call have the same names in the same order, live on one device and have
one floating dtype. Nothing is flattened into one vector: a copy of every parameter is never needed.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

Params = Mapping[str, Tensor]
"""Parameters or buffers by their name in the state dict."""


def subtract(a: Params, b: Params) -> dict[str, Tensor]:
    """Return ``a - b``, tensor by tensor."""
    return {name: value - b[name] for name, value in a.items()}


def dot(a: Params, b: Params) -> Tensor:
    """Return the inner product of two parameter mappings seen as one long vector (a scalar)."""
    return torch.stack([torch.dot(value.flatten(), b[name].flatten()) for name, value in a.items()]).sum()


def norm(a: Params) -> Tensor:
    """Return the Euclidean norm of a parameter mapping seen as one long vector (a scalar)."""
    result: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(value) for value in a.values()]))
    return result


def cosine_distance(a: Params, b: Params) -> Tensor:
    """Return ``1 - <a, b> / (|a| |b|)``, in [0, 2], over all parameters at once (a scalar)."""
    return 1 - dot(a, b) / (norm(a) * norm(b))
