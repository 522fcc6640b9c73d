"""One checkpoint read as plain tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ...attacks.contract.params import Params
from . import weights
from .copies import copies
from .existing import existing
from .names import plain_names
from .refusal import CheckpointError

_FACTOR = re.compile(r"\.lora_(embedding_)?[AB]\b")


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one checkpoint.

    Attributes:
        path: As it was asked for.
        format: ``safetensors``, ``torch``, either of them after ``sharded`` or ``adapter``, or ``npz``.
        sha256: Hexadecimal digest of the file; of several files, that of the lines ``sha256sum`` prints for them.
        dtypes: Element types in the file, sorted, e.g. ``("float16", "int64")``.
        tensors: By name without wrapper prefixes; contiguous copies on the CPU, floating ones as float32 or float64.
        stored: Element type in the file by the same names.
        aside: Names in the file of tensors that are no part of the network, such as those of a loss or a metric.
        key: Path of the state dict in a torch file, such as ``trainer/net``; empty where it is the file itself.
    """

    path: str
    format: str
    sha256: str
    dtypes: tuple[str, ...]
    tensors: Params
    stored: Mapping[str, torch.dtype] = field(default_factory=dict)
    aside: tuple[str, ...] = ()
    key: str = ""


def read(path: str | Path, key: str = "") -> Checkpoint:
    """Read one checkpoint: a safetensors, torch or npz file, a shard index, or a folder that holds one of them.

    Args:
        path: Of the file or folder.
        key: Path of the state dict in a torch file, such as ``trainer/net``, where it has one there; else it is looked
            for.

    Raises:
        CheckpointError: The file is missing, damaged, holds code or no weights, or one of its tensors is unusable.
    """
    source = existing(path)
    try:
        form, files, loaded, found_at = weights.load(source, key)
        sha256 = weights.digest(files)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from error
    if loaded and all(_FACTOR.search(name) for name in loaded):
        raise CheckpointError(
            f"{path} holds nothing but the factors of a LoRA adapter.",
            "Pass the base first and the adapter's folder, with adapter_config.json in it, second.",
        )
    names = plain_names(loaded)
    found = copies(path, {name: loaded[name] for name in names})
    dtypes = tuple(sorted({str(loaded[name].dtype).removeprefix("torch.") for name in names}))
    return Checkpoint(
        *(str(path), form, sha256, dtypes),
        tensors={names[name]: value for name, value in found.items()},
        stored={short: loaded[name].dtype for name, short in names.items()},
        aside=tuple(sorted(loaded.keys() - names)),
        key=found_at,
    )


def check_key(key: str, *read: Checkpoint) -> None:
    """Refuse a path that no file has a state dict at. Raises :class:`CheckpointError`."""
    if key and all(found.key != key for found in read):
        places = ", ".join(f"{found.path}: {found.key or 'the file itself'}" for found in read)
        raise CheckpointError(f"--key {key}: no file has a state dict there; read were {places}.", "Check the path.")
