"""A LoRA adapter put onto its base: two checkpoints of the network that was trained, with A and B among its tensors."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ...attacks.contract.params import Params
from .adapter import DOWN, UP, Adapter, adapter_file, holds_weights, read_adapter
from .names import aligned
from .refusal import CheckpointError, quoted


def start_of(before: str | Path) -> Adapter | None:
    """Return the adapter from before training, where it lies in the folder of the base; ``None`` where none does.

    Raises:
        CheckpointError: There is an adapter and no base, or it cannot be read.
    """
    if adapter_file(before) is None:
        return None
    if not Path(before).is_dir() or not holds_weights(before):
        raise CheckpointError(
            f"{before} is an adapter alone, as from an earlier step, without the base that it belongs to.",
            "Pass the folder of the base first; the adapter's files from before training may lie in it too.",
        )
    return read_adapter(before)


def on_base(adapter: Adapter, base: str, tensors: Params) -> Adapter:
    """Return the adapter with the names that the base's tensors have.

    Args:
        adapter: As it was read.
        base: Path of the base, for messages.
        tensors: Those of the base.

    Raises:
        CheckpointError: It adapts a layer that the base does not have, or has in another shape.
    """
    names = _aligned(adapter, tensors)
    there = {layer: names[f"{layer}.weight"].removesuffix(".weight") for layer in adapter.layers}
    _check(adapter, base, tensors, there)
    stored = {_moved(name, names, there): kind for name, kind in adapter.stored.items()}
    return replace(
        adapter,
        layers={there[layer]: parts for layer, parts in adapter.layers.items()},
        whole={names[name]: value for name, value in adapter.whole.items()},
        stored=stored,
    )


def absent(adapter: Adapter, tensors: Params) -> bool:
    """Return whether the adapter adapts a layer that a base with these tensors has under no name like its own."""
    names = _aligned(adapter, tensors)
    return any(names[f"{layer}.weight"] not in tensors for layer in adapter.layers)


def _aligned(adapter: Adapter, tensors: Params) -> dict[str, str]:
    wanted = {f"{layer}.weight": torch.empty(parts.shape, device="meta") for layer, parts in adapter.layers.items()}
    return aligned({**wanted, **adapter.whole}, tensors)


def _moved(name: str, names: Mapping[str, str], layers: Mapping[str, str]) -> str:
    for end in (f".{DOWN}", f".{UP}"):
        if name.endswith(end):
            return layers[name.removesuffix(end)] + end
    return names[name]


def _check(adapter: Adapter, base: str, tensors: Params, there: Mapping[str, str]) -> None:
    hint = f"Pass the base that it was trained on{f', {adapter.base!r} as it says' if adapter.base else ''}."
    strange = [layer for layer, other in there.items() if f"{other}.weight" not in tensors]
    if strange:
        raise CheckpointError(
            f"{adapter.path} adapts {quoted(strange)}, and {base} has no layer of that name ({len(strange)} of "
            f"{len(there)} are missing).",
            hint,
        )
    for layer, parts in adapter.layers.items():
        shape = tuple(tensors[f"{there[layer]}.weight"].shape)
        if shape != parts.shape:
            raise CheckpointError(
                f"{adapter.path} does not fit {base}: the weight of {quoted([layer])} is {shape} there, and "
                f"lora_A and lora_B make {parts.shape}.",
                hint,
            )


def joined_digest(base: str, start: Adapter) -> str:
    """Return the SHA-256 that stands for a base and the adapter from before training beside it."""
    return hashlib.sha256(f"{base} {start.sha256}".encode()).hexdigest()


def check_alike(start: Adapter, end: Adapter) -> None:
    """Raise :class:`CheckpointError` where two adapters are not the same one at two times."""
    sketches = [
        {layer: (parts.down.shape, parts.up.shape, parts.scale) for layer, parts in side.layers.items()}
        for side in (start, end)
    ]
    if sketches[0] != sketches[1]:
        raise CheckpointError(
            f"The adapters in {start.path} and {end.path} differ in their layers, ranks or scales.",
            "Pass one adapter, before and after training.",
        )


def factors(end: Adapter, start: Adapter | None, like: torch.dtype) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return A and B before and after training, by name; where the start is not known, that of A is its end."""
    before, after = dict[str, Tensor](), dict[str, Tensor]()
    for layer, parts in end.layers.items():
        first = start.layers[layer] if start else None
        down, up = f"{layer}.{DOWN}", f"{layer}.{UP}"
        after[down], after[up] = parts.down.to(like), parts.up.to(like)
        before[down] = (first.down if first else parts.down).to(like)
        before[up] = (first.up if first else torch.zeros_like(parts.up)).to(like)
    return before, after


def among(tensors: Params, parts: Params, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return tensors with A and B behind the weight of their layer."""
    found = dict[str, Tensor]()
    places = {f"{layer}.weight": layer for layer in layers}
    for name, value in tensors.items():
        found[name] = value
        if layer := places.get(name):
            found |= {f"{layer}.{part}": parts[f"{layer}.{part}"] for part in (DOWN, UP)}
    return found
