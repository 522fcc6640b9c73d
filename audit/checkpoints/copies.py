"""Tensors of a file made fit to compute with: aligned, contiguous, finite copies; others are refused."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .calls import MOST_DIMENSIONS
from .refusal import CheckpointError, quoted

_FLOATS = "float64 float32 float16 bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
_INTEGERS = "int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool"

COMPUTED = frozenset(getattr(torch, name) for name in f"{_FLOATS} {_INTEGERS}".split())
"""Element types that are read."""

SHARED, SMALL = 4, 2**26
"""Tensors may be views of the same bytes: up to this many times what is stored, and this many bytes besides."""


def copies(path: str | Path, loaded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return aligned, contiguous, finite copies that share nothing with the file.

    Args:
        path: Of the file, for messages.
        loaded: Its tensors by name.

    Returns:
        By the same names, on the CPU; floating ones as float64 where any is one, else as float32.

    Raises:
        CheckpointError: A tensor is of a kind, size or value with which nothing can be computed.
    """
    double = any(value.dtype == torch.float64 for value in loaded.values())
    for name, value in loaded.items():
        if kind := _unusable(value):
            raise CheckpointError(
                f"The tensor {quoted([name])} of {path} is {kind}.", "Save the plain, dense floating weights."
            )
    _check_views(path, loaded)
    made: dict[str, Tensor] = {}
    for name, value in loaded.items():
        dtype = (torch.float64 if double else torch.float32) if value.is_floating_point() else value.dtype
        made[name] = value.detach().to(dtype, copy=True, memory_format=torch.contiguous_format)
        if not torch.isfinite(made[name]).all():
            raise CheckpointError(
                f"The tensor {quoted([name])} of {path} holds NaN or infinite values.",
                "Audit a checkpoint from before the training diverged.",
            )
    return made


def _check_views(path: str | Path, loaded: Mapping[str, Tensor]) -> None:
    """Refuse many tensors that are one and the same storage: each would become a copy."""
    storages = [value.untyped_storage() for value in loaded.values()]
    stored = {storage.data_ptr(): storage.nbytes() for storage in storages}
    copied = sum(value.numel() * value.element_size() for value in loaded.values())
    if copied > SHARED * sum(stored.values()) + SMALL:
        raise CheckpointError(
            f"The tensors of {path} fill {copied / 2**30:.1f} GiB, and what is stored for them far less.",
            "Save each of the weights as a tensor of its own.",
        )


def _unusable(tensor: Tensor) -> str:
    if tensor.dtype not in COMPUTED and not (tensor.is_complex() or tensor.is_quantized):
        return f"of type {str(tensor.dtype).removeprefix('torch.')}, with which memaudit does not compute"
    if tensor.ndim > MOST_DIMENSIONS:
        return f"of {tensor.ndim} dimensions, and {MOST_DIMENSIONS} is the most"
    if not tensor.numel() and math.prod(max(1, size) for size in tensor.shape) > SMALL:
        return f"of shape {tuple(tensor.shape)}, which holds nothing"
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_nested or tensor.layout != torch.strided:
        return "sparse or nested"
    if tensor.is_complex():
        return "complex"
    if tensor.device.type != "cpu":
        return f"without values (on the {tensor.device.type} device)"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "larger than what is stored for it"  # an expanded view of a few bytes could fill all memory
    return ""
