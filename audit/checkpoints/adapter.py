"""LoRA adapters as the library PEFT saves them: a configuration, and two thin matrices for each layer that was adapted.

The layer's weight W stays as it is in the base; the network computes with ``W + scale * B A``, where training moved A
(``lora_A``) and B (``lora_B``), and B began at zero.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..files import read_regular
from . import weights
from .copies import copies
from .refusal import AGAIN, CheckpointError, quoted

CONFIG = "adapter_config.json"
"""The file beside an adapter's weights that says what they are."""

FILES = ("adapter_model.safetensors", "adapter_model.bin")
"""Names of an adapter's weights, in the order in which they are looked for."""

LARGEST = 2**22
"""Bytes of a configuration that is looked into."""

MOST = 2**16
"""Largest rank and largest alpha."""

DOWN, UP = "lora_A.weight", "lora_B.weight"
"""Last parts of the names of A and B."""

_FACTOR = re.compile(r"(?P<layer>.+)\.lora_(?P<side>[AB])(\.[^.]+)?\.weight")
_WRAPPED = re.compile(r"^(.*\.)?base_model\.model\.(?=.)")
_KEPT = re.compile(r"\.modules_to_save(\.default)?(?=\.)|\.base_layer(?=\.)")
_COPY = ".original_module."
_PLAIN = re.compile(r"\^?[\w.]+")

_STARTS = (True, "true", "gaussian", "eva")
"""Values of ``init_lora_weights`` that let B begin at zero and leave the base as it is."""

_OTHERS = (
    "use_dora", "lora_bias", "use_qalora", "use_bdlora", "arrow_config", "kasa_config", "velora_config",
    "monteclora_config", "layer_replication", "target_parameters", "trainable_token_indices", "alora_invocation_tokens",
)  # fmt: skip
"""Settings under which an adapter is more than two factors for each layer."""

_MERGE = (
    "Where PEFT can merge it (merge_and_unload), the merged weights can be read; yet attacks then take all of the "
    "network for trained."
)


@dataclass(frozen=True)
class Factors:
    """What an adapter adds to the weight of one layer: ``scale * up @ down``.

    Attributes:
        down: A, (r, inputs) of a linear layer, (r, channels, height, width) of a convolution.
        up: B, (outputs, r), or (outputs, r, 1, 1).
        scale: ``alpha / r``, or ``alpha / sqrt(r)`` where the configuration says so.
    """

    down: Tensor
    up: Tensor
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that they belong to."""
        return (len(self.up), *self.down.shape[1:])


@dataclass(frozen=True)
class Adapter:
    """An adapter: what it adds to layers, and tensors that it replaces whole.

    Attributes:
        path: As it was asked for.
        format: ``adapter safetensors`` or ``adapter torch``.
        sha256: That of the lines ``sha256sum`` prints for its two files.
        layers: Factors by the name of the layer.
        whole: Heads that were trained whole, and biases, by name.
        stored: Element types in the file, by name of the tensor without what PEFT adds.
        dropout: Probability with which training dropped inputs of A.
        base: What the configuration says that it was trained on, empty where it does not.
    """

    path: str
    format: str
    sha256: str
    layers: Mapping[str, Factors]
    whole: Mapping[str, Tensor]
    stored: Mapping[str, torch.dtype]
    dropout: float
    base: str


def adapter_file(path: str | Path) -> Path | None:
    """Return the weights of an adapter where ``path`` is one: the folder, or the file with its configuration beside."""
    source = Path(path)
    if source.is_file():
        return source if source.name in FILES and (source.parent / CONFIG).is_file() else None
    if not source.is_dir() or not (source / CONFIG).is_file():
        return None
    return next((file for name in FILES if (file := source / name).is_file()), None)


def holds_weights(folder: str | Path) -> bool:
    """Return whether a folder holds the weights of a network beside an adapter."""
    found = [file.name for pattern in ("*.safetensors", "*.index.json", "*.bin") for file in Path(folder).glob(pattern)]
    return any(name not in FILES and name not in ("optimizer.bin", "training_args.bin") for name in found)


def read_adapter(path: str | Path) -> Adapter | None:
    """Read a LoRA adapter; ``None`` where ``path`` is none.

    Raises:
        CheckpointError: It is one of another kind, damaged, or does not fit its own configuration.
    """
    try:
        file = adapter_file(path)
        if file is None:
            _refuse_without_weights(Path(path))
            return None
        settings = _settings(file.parent / CONFIG)
        _check_kind(path, settings)
        form, files, loaded, _ = weights.load(file)
        digest = weights.digest([*files, file.parent / CONFIG])
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from error
    plain = {_WRAPPED.sub("", name): value for name, value in loaded.items() if _COPY not in name}
    found = copies(file, plain)
    sides, whole, names = _sorted(path, found)
    layers = {layer: _factors(path, layer, pair, settings) for layer, pair in sides.items()}
    return Adapter(
        *(str(path), f"adapter {form}", digest, layers, whole),
        stored={names[name]: value.dtype for name, value in plain.items()},
        dropout=_dropout(settings),
        base=str(settings.get("base_model_name_or_path") or "")[:200],
    )


def _refuse_without_weights(source: Path) -> None:
    if source.is_dir() and (source / CONFIG).is_file() and not holds_weights(source):
        raise CheckpointError(
            f"The folder {source} holds {CONFIG}, but not the adapter's weights.",
            f"It should contain {FILES[0]} or {FILES[1]}.",
        )


def _settings(file: Path) -> dict[str, object]:
    content = read_regular(file, LARGEST)
    try:
        found = json.loads(content) if len(content) <= LARGEST else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CheckpointError(f"{file} is not the configuration of an adapter (a JSON object).", AGAIN)
    return found


def _check_kind(path: str | Path, settings: Mapping[str, object]) -> None:
    kind = settings.get("peft_type")
    if kind != "LORA":
        told = f"of the type {quoted([str(kind)])}" if kind else "of no type"
        raise CheckpointError(f"{path} is an adapter {told}, and memaudit reads LoRA.", _MERGE)
    if other := next((name for name in _OTHERS if settings.get(name)), ""):
        name = "DoRA" if other == "use_dora" else f"LoRA with {other}"
        raise CheckpointError(f"{path} is an adapter of the kind {name}, and memaudit reads plain LoRA.", _MERGE)
    start = settings.get("init_lora_weights", True)
    if start is None or not any(start == known for known in _STARTS):
        raise CheckpointError(
            f"{path} was initialised with init_lora_weights={repr(start)[:40]}, so that its B did not begin at zero.",
            "Adapters are read whose B did: init_lora_weights true, gaussian or eva.",
        )


def _sorted(
    path: str | Path, found: Mapping[str, Tensor]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor], dict[str, str]]:
    """Return the factors by layer and side, the other tensors, and what each name becomes."""
    sides: dict[str, dict[str, Tensor]] = {}
    whole, names = dict[str, Tensor](), dict[str, str]()
    for name, value in found.items():
        match = _FACTOR.fullmatch(name)
        if match:
            layer, side = match["layer"], match["side"]
            if side in sides.setdefault(layer, {}):
                raise CheckpointError(f"{path} holds two adapters for {quoted([layer])}.", "Save the one to audit.")
            sides[layer][side], names[name] = value, f"{layer}.lora_{side}.weight"
        elif "lora_" in name or not value.is_floating_point():
            raise CheckpointError(f"{path} holds {quoted([name])}, which is no part of a plain LoRA adapter.", _MERGE)
        else:
            names[name] = _KEPT.sub("", name)
            whole[names[name]] = value
    if not sides:
        raise CheckpointError(f"{path} holds no lora_A and lora_B, only {quoted(whole) or 'nothing'}.", AGAIN)
    return sides, whole, names


def _factors(path: str | Path, layer: str, sides: Mapping[str, Tensor], settings: Mapping[str, object]) -> Factors:
    if len(sides) < 2:
        raise CheckpointError(f"{path} holds only lora_{next(iter(sides))} of {quoted([layer])}.", AGAIN)
    down, up = sides["A"], sides["B"]
    rank = _number(path, settings, "r", layer, "rank_pattern")
    linear = down.ndim == up.ndim == 2
    convolution = down.ndim == up.ndim == 4 and up.shape[2:] == (1, 1)
    floating = down.is_floating_point() and up.is_floating_point()
    if not floating or not (linear or convolution) or len(down) != up.shape[1] or not 0 < len(down) == rank:
        raise CheckpointError(
            f"The factors of {quoted([layer])} in {path} do not fit: lora_A is {tuple(down.shape)} and lora_B "
            f"{tuple(up.shape)}, and {CONFIG} gives the rank {rank:g}.",
            AGAIN,
        )
    alpha = _number(path, settings, "lora_alpha", layer, "alpha_pattern")
    return Factors(down, up, alpha / (math.sqrt(rank) if settings.get("use_rslora") is True else rank))


def _number(path: str | Path, settings: Mapping[str, object], name: str, layer: str, pattern: str) -> float:
    """Return a setting for a layer, by the pattern that fits its name if one does."""
    patterns = settings.get(pattern) or {}
    if not isinstance(patterns, dict):
        raise CheckpointError(f"{pattern} is no mapping in the {CONFIG} of {path}.", AGAIN)
    for key in patterns:
        if not _PLAIN.fullmatch(key):
            raise CheckpointError(
                f"{pattern} has the pattern {quoted([key])} in the {CONFIG} of {path}, which memaudit does not follow.",
                "Write the names of layers in its place.",
            )
    key = next((key for key in patterns if _fits(key, layer)), None)
    value = settings.get(name, 8) if key is None else patterns[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST:
        raise CheckpointError(
            f"{name if key is None else pattern} is {str(value)[:40]!r} in the {CONFIG} of {path}.",
            f"It should be a number above 0 and at most {MOST}.",
        )
    return float(value)


def _fits(key: str, layer: str) -> bool:
    plain = key.removeprefix("^")
    return layer == plain or (plain == key and layer.endswith(f".{plain}"))


def _dropout(settings: Mapping[str, object]) -> float:
    value = settings.get("lora_dropout")
    return float(value) if isinstance(value, int | float) and 0 < value < 1 else 0.0
