"""A network before and after training: two checkpoints read as plain tensors and found to belong together."""

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ...attacks.contract.params import Params
from . import weights
from .calls import MOST_DIMENSIONS
from .weights import CheckpointError, quoted

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""

COUNTER = "num_batches_tracked"
"""A batch-norm buffer that plays no part in the network's output and that old checkpoints lack."""

AVERAGED = "n_averaged"
"""The count beside the weights of :class:`torch.optim.swa_utils.AveragedModel`."""


_FLOATS = "float64 float32 float16 bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
_INTEGERS = "int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool"

COMPUTED = frozenset(getattr(torch, name) for name in f"{_FLOATS} {_INTEGERS}".split())
"""Element types that are read."""

SHARED, SMALL = 4, 2**26
"""Tensors may be views of the same bytes: up to this many times what is stored, and this many bytes besides."""


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one checkpoint.

    Attributes:
        path: As it was asked for.
        format: ``safetensors``, ``sharded safetensors`` or ``torch``.
        sha256: Hexadecimal digest of the file; of several files, that of the lines ``sha256sum`` prints for them.
        dtypes: Element types in the file, sorted, e.g. ``("float16", "int64")``.
        tensors: By name without wrapper prefixes; contiguous copies on the CPU, floating ones as float32 or float64.
        stored: Element type in the file by the same names.
    """

    path: str
    format: str
    sha256: str
    dtypes: tuple[str, ...]
    tensors: Params
    stored: Mapping[str, torch.dtype] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointPair:
    """One network before and after training: equal names, equal shapes, one floating dtype.

    Attributes:
        before: The checkpoint that training started from.
        after: The checkpoint that it ended with.
    """

    before: Checkpoint
    after: Checkpoint

    @cached_property
    def moved(self) -> frozenset[str]:
        """Names of the floating tensors that differ anywhere."""
        before, after = self.before.tensors, self.after.tensors
        return frozenset(
            name for name, value in before.items() if value.is_floating_point() and not torch.equal(value, after[name])
        )


def read(path: str | Path) -> Checkpoint:
    """Read one checkpoint: a safetensors or torch file, a shard index, or a folder that holds one of them.

    Raises:
        CheckpointError: The file is missing, damaged, holds code or no weights, or one of its tensors is unusable.
    """
    source = Path(path)
    if not source.exists():
        beside = [file.name for file in source.parent.iterdir()] if source.parent.is_dir() else []
        alike = difflib.get_close_matches(source.name, beside, n=1)
        hint = f"Did you mean {source.with_name(alike[0])}?" if alike else "Check the path."
        raise CheckpointError(f"There is no checkpoint at {path}.", hint)
    try:
        form, files, loaded = weights.load(source)
        sha256 = weights.digest(files)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from error
    tensors = {name: value for name, value in _copies(path, loaded).items() if name != AVERAGED}
    dtypes = tuple(sorted({str(value.dtype).removeprefix("torch.") for value in loaded.values()}))
    skip = len(shared_prefix(tensors))
    stored = {name[skip:]: loaded[name].dtype for name in tensors}
    return Checkpoint(str(path), form, sha256, dtypes, {name[skip:]: value for name, value in tensors.items()}, stored)


def read_pair(before: str | Path, after: str | Path) -> CheckpointPair:
    """Read the checkpoints from before and after training and make sure that they belong together.

    Batch-norm counters (``num_batches_tracked``) that only one side has are dropped; floating tensors become
    float64 on both sides where either file holds a float64.

    Raises:
        CheckpointError: One of them cannot be read, names or shapes differ, or nothing moved.
    """
    first, second = read(before), read(after)
    lonely = {name for name in first.tensors.keys() ^ second.tensors.keys() if name.endswith(COUNTER)}
    double = "float64" in first.dtypes + second.dtypes
    pair = CheckpointPair(_aligned(first, lonely, double), _aligned(second, lonely, double))
    _check_names(pair)
    _check_shapes(pair)
    if not pair.moved:
        raise CheckpointError(
            f"{before} and {after} are the same network: no tensor moved.",
            "Pass the checkpoint from before the training first and the one from after it second.",
        )
    return pair


def shared_prefix(names: Collection[str]) -> str:
    """Return the wrapper prefixes (:data:`PREFIXES`, in any nesting) that all names share, e.g. ``module.model.``."""
    prefix = ""
    while names and (longer := next((p for p in PREFIXES if all(_extends(name, prefix + p) for name in names)), "")):
        prefix += longer
    return prefix


def _extends(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and len(name) > len(prefix)


def _aligned(checkpoint: Checkpoint, drop: Collection[str], double: bool) -> Checkpoint:
    kept = {name: value for name, value in checkpoint.tensors.items() if name not in drop}
    if double:
        kept = {name: value.double() if value.is_floating_point() else value for name, value in kept.items()}
    return replace(checkpoint, tensors=kept)


def _check_names(pair: CheckpointPair) -> None:
    before, after = pair.before.tensors, pair.after.tensors
    sides = ((pair.before.path, sorted(before.keys() - after.keys())), (pair.after.path, sorted(after.keys() - before)))
    if any(names for _, names in sides):
        lonely = [f"only {path} has {quoted(names)}" for path, names in sides if names]
        raise CheckpointError(
            f"The two checkpoints hold different tensors: {', and '.join(lonely)}.",
            "Pass two checkpoints of the same network.",
        )


def _check_shapes(pair: CheckpointPair) -> None:
    before, after = pair.before.tensors, pair.after.tensors
    changed = [name for name in before if _kind(before[name]) != _kind(after[name])]
    if not changed:
        return
    paths, first = f"{pair.before.path} and {pair.after.path}", changed[0]
    owners = {name.rpartition(".")[0] for name in changed}
    if len(owners) == 1 and all(_differ_in_rows(before[name], after[name]) for name in changed):
        raise CheckpointError(
            f"{paths} differ in the shape of the classifier head {owners.pop()!r} alone: {len(before[first])} "
            f"against {len(after[first])} classes.",
            "Put the new head, as it was initialised, into the checkpoint from before the training and audit that.",
        )
    raise CheckpointError(
        f"{paths} do not belong to one network: {first!r} is {_sketch(before[first])} in the first "
        f"and {_sketch(after[first])} in the second.",
        "Pass two checkpoints of the same network.",
    )


def _kind(tensor: Tensor) -> tuple[torch.Size, bool]:
    return tensor.shape, tensor.is_floating_point()


def _differ_in_rows(a: Tensor, b: Tensor) -> bool:
    return a.ndim > 0 and len(a) != len(b) and a.shape[1:] == b.shape[1:]


def _sketch(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _copies(path: str | Path, loaded: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return aligned, contiguous, finite copies that share nothing with the file."""
    double = any(value.dtype == torch.float64 for value in loaded.values())
    for name, value in loaded.items():
        if kind := _unusable(value):
            raise CheckpointError(
                f"The tensor {quoted([name])} of {path} is {kind}.", "Save the plain, dense floating weights."
            )
    _check_views(path, loaded)
    copies: dict[str, Tensor] = {}
    for name, value in loaded.items():
        dtype = (torch.float64 if double else torch.float32) if value.is_floating_point() else value.dtype
        copies[name] = value.detach().to(dtype, copy=True, memory_format=torch.contiguous_format)
        if not torch.isfinite(copies[name]).all():
            raise CheckpointError(
                f"The tensor {quoted([name])} of {path} holds NaN or infinite values.",
                "Audit a checkpoint from before the training diverged.",
            )
    return copies


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
