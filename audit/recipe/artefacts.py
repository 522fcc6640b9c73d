"""What training files that lie in or beside a checkpoint tell of the recipe; nothing in them is ever executed.

Every such file is hostile until read: one that is damaged, too large, a link, or holds more than plain data tells
nothing. Torch files must be archives, as ``torch.save`` has written since version 1.6; ``training_args.bin`` is a
pickle that needs code and stays closed.
"""

import json
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard
from zipfile import ZipFile

import torch
from torch import Tensor

from ..report.facts import Fact

MAX_TEXT = 8 * 2**20
"""Largest JSON or YAML file that is read, in bytes."""

_Told = dict[str, tuple[object, str]]
"""By recipe field a value, not yet judged, and the place inside the file where it stands."""

_STATES = (
    *("optimizer_state_dict", "optimizer", "optim_state_dict", "optim", "optimizer_state"),
    "optimizer_states",  # Lightning: a list
)
"""Keys under which training scripts put the optimizer's state."""

_SETTINGS = ("hyper_parameters", "args", "hparams", "config")
"""Keys under which they put their settings."""

_ALIASES = {
    "optimizer": ("optimizer", "optim"),
    "lr": ("lr", "learning_rate"),
    "momentum": ("momentum",),
    "dampening": ("dampening",),
    "nesterov": ("nesterov",),
    "weight_decay": ("weight_decay",),
    "beta1": ("beta1", "adam_beta1"),
    "beta2": ("beta2", "adam_beta2"),
    "eps": ("eps", "adam_epsilon"),
    "batch_size": ("batch_size", "train_batch_size", "per_device_train_batch_size"),
    "epochs": ("epochs", "max_epochs", "num_epochs", "num_train_epochs"),
    "schedule": ("schedule", "lr_scheduler_type"),
    "warmup": ("warmup_steps",),
    "clip": ("max_grad_norm", "gradient_clip_val"),
}
"""What settings call the fields of a recipe."""

_VOIDED = {
    "epochs": (("max_steps", 0),),
    "batch_size": (("gradient_accumulation_steps", 1), ("accumulate_grad_batches", 1)),
    "warmup": (("warmup_ratio", 0),),
}
"""Fields that settings tell wrongly where another of their keys exceeds a number."""

_COUNTERS = {"optimizer step": "steps", "global_step": "steps", "epoch": "epochs"}

_WORDS = {
    "optimizer": dict.fromkeys(("adamw", "adamw_torch", "adamw_torch_fused", "adamw_hf"), "adamw")
    | {"sgd": "sgd", "adam": "adam"},
    "schedule": {"linear": "linear", "cosine": "cosine"}
    | dict.fromkeys(("constant", "constant_with_warmup"), "constant"),
}

_OTHER = "other"
"""An optimizer that is not simulated: whatever it calls its learning rate means something else."""

_POSITIVE = math.ulp(0.0)

_NUMBERS = {
    "lr": (_POSITIVE, 1e6),
    "momentum": (0.0, 1.0),
    "dampening": (0.0, math.nextafter(1.0, 2.0)),
    "weight_decay": (0.0, 1e6),
    "beta1": (0.0, 1.0),
    "beta2": (0.0, 1.0),
    "eps": (_POSITIVE, 1e6),
    "clip": (0.0, 1e9),
}
"""Ranges, each without its upper end."""

_COUNTS = {"batch_size": (1, 10**9), "epochs": (1, 10**6), "steps": (1, 10**9), "warmup": (0, 10**9)}
"""The same for whole numbers."""

_OF_SGD = frozenset({"momentum", "dampening", "nesterov"})
_OF_ADAM = frozenset({"beta1", "beta2", "eps"})

_GROUP_KEYS = {"sgd": _OF_SGD, "adam": frozenset({"betas", "eps", "amsgrad"})}
"""What tells a parameter group of :mod:`torch.optim`."""

_ANY_GROUP_KEYS = frozenset(
    {
        *("params", "param_names", "name", "lr", "weight_decay", "decoupled_weight_decay"),
        *("maximize", "foreach", "differentiable", "fused", "capturable"),
        *("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr"),  # put there by schedulers
    }
)
"""What else may stand there; any other key belongs to an optimizer that is not simulated."""


@dataclass(frozen=True)
class _Artefact:
    """What one file tells.

    Attributes:
        path: Of the file.
        sure: Values to take, the most trustworthy first.
        weak: Values to take where no file tells better.
        counts: Counters of :data:`_COUNTERS` when the file was written; they may have begun before this training.
    """

    path: Path
    sure: Sequence[_Told] = ()
    weak: _Told = field(default_factory=dict)
    counts: Mapping[str, object] = field(default_factory=dict)


def read_artefacts(before: str | Path, after: str | Path) -> dict[str, Fact]:
    """Return by recipe field, and ``steps``, what the training files in or beside ``after`` tell.

    Those of ``before`` only show where counters stood. An artefact that cannot be read safely tells nothing.
    """
    found = _artefacts(Path(after))
    shared = {artefact.path for artefact in found}
    earlier = [artefact for artefact in _artefacts(Path(before)) if artefact.path not in shared]
    ranked = [(a.path, told) for a in found for told in (_counted(a, earlier), *a.sure)]
    facts: dict[str, Fact] = {}
    for path, told in [*ranked, *((a.path, a.weak) for a in found)]:
        for name, (raw, where) in told.items():
            value = _sound(name, raw)
            if value is not None and name not in facts:
                option = "" if name == "steps" else "--" + name.replace("_", "-")
                facts[name] = Fact(value=value, source="given", option=option, evidence=f"{path}: {where}")
    return _consistent(facts)


def _artefacts(path: Path) -> list[_Artefact]:
    """Return what the files in and beside ``path`` tell, the most trustworthy first."""
    readers: list[tuple[Path, Callable[[Path], _Artefact]]] = []
    if path.suffix != ".safetensors":
        readers.append((path, _from_torch))
    with suppress(OSError):
        folder = path if path.is_dir() else path.parent
        readers += [(folder / name, reader) for name, reader in _BESIDE.items() if not (folder / name).is_symlink()]
    found = []
    for file, reader in readers:
        with suppress(Exception):  # hostile bytes may fail in any way
            if file.is_file():
                found.append(reader(file))
    return found


def _counted(artefact: _Artefact, earlier: Sequence[_Artefact]) -> _Told:
    """Return steps and epochs from an artefact's counters, less where they stood before if they went on from there."""
    told: _Told = {}
    for key, name in _COUNTERS.items():
        end = _whole(artefact.counts.get(key), 1)
        starts = ((_whole(a.counts.get(key), 0), a.path) for a in earlier)
        start, path = next(((start, path) for start, path in starts if start is not None), (None, None))
        if end is not None and start is not None and start < end:
            told.setdefault(name, (end - start, f"{key}, {end} less {start} in {path}"))
        elif end is not None and name == "steps":  # epochs alone may count from 0 or from 1
            told.setdefault(name, (end, key))
    return told


def _consistent(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Leave out what belongs to another optimizer or contradicts the rest."""
    value = {name: fact.value for name, fact in facts.items()}
    drop = set[str]()
    if value.get("optimizer") == _OTHER:
        drop |= {"optimizer", "lr", "weight_decay"} | _OF_SGD | _OF_ADAM
    elif "optimizer" in value:
        drop |= _OF_ADAM if value["optimizer"] == "sgd" else _OF_SGD
    if not value.get("momentum"):
        drop.add("dampening")
    if value.get("nesterov") and (value.get("dampening") or not value.get("momentum")):
        drop.add("nesterov")
    return {name: fact for name, fact in facts.items() if name not in drop}


def _sound(name: str, value: object) -> bool | float | str | None:
    """Return a field's value in its own type, or ``None`` for one of a wrong type or out of range."""
    if name in _WORDS:
        other = _OTHER if name == "optimizer" else None
        return _WORDS[name].get(value.lower().rpartition(".")[2], other) if isinstance(value, str) else None
    if name == "nesterov":
        return value if isinstance(value, bool) else None
    if name in _COUNTS:
        return _whole(value, *_COUNTS[name])
    low, high = _NUMBERS[name]
    return float(value) if _is_number(value) and low <= value < high else None


def _whole(value: object, low: int, high: int = 10**9) -> int | None:
    return int(value) if _is_number(value) and low <= value < high and value == int(value) else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _from_torch(file: Path) -> _Artefact:
    if not _is_archive(file):
        return _Artefact(file)
    with warnings.catch_warnings(action="ignore"):  # nothing that the user can act on
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(loaded, Mapping):
        return _Artefact(file)
    where, states = _states(loaded)
    sure, weak = _optimizer([group for state in states for group in state["param_groups"]], f"{where}param_groups")
    settings = [_settings(loaded.get(key), f"{key}.") for key in _SETTINGS]
    counts = {key: loaded.get(key) for key in ("global_step", "epoch")} | {"optimizer step": _updates(states)}
    return _Artefact(file, [sure, *settings, _settings(loaded)], weak, counts)


def _is_archive(file: Path) -> bool:
    """Return whether it is a zip archive that does not unpack to far more than its size, as torch.save never does."""
    with file.open("rb") as stream:
        if stream.read(4) != b"PK\3\4":
            return False
    with ZipFile(file) as archive:
        return sum(entry.file_size for entry in archive.infolist()) <= 2 * file.stat().st_size


def _states(loaded: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]]]:
    """Return where the states of the optimizers are, and those states."""
    for where, value in [("", loaded), *((f"{key}.", loaded.get(key)) for key in _STATES)]:
        nodes = value if isinstance(value, list) else [value]
        found = [node for node in nodes if isinstance(node, Mapping) and isinstance(node.get("param_groups"), list)]
        if found:
            return where, found
    return "", []


def _updates(states: Sequence[Mapping[str, Any]]) -> object:
    """Return how often Adam, or one that counts like it, updated the parameter that it updated most often."""
    memories = [state["state"] for state in states if isinstance(state.get("state"), Mapping)]
    entries = [entry for memory in memories for entry in memory.values() if isinstance(entry, Mapping)]
    return max(filter(_is_number, (_plain(entry.get("step")) for entry in entries)), default=None)


def _optimizer(listed: Sequence[Any], where: str) -> tuple[_Told, _Told]:
    """Return what parameter groups tell surely and weakly; values in which they differ are left out."""
    groups = [group for group in listed if isinstance(group, Mapping) and group.get("params")]
    if not groups:
        return {}, {}
    kind = _kind(groups)
    if kind == _OTHER:
        return {"optimizer": (_OTHER, where)}, {}
    sure = {name: (_agreed(groups, name), f"{where}.{name}") for name in ("weight_decay", "eps", *_OF_SGD)}
    betas = _agreed(groups, "betas")
    if isinstance(betas, list):
        sure |= {name: (beta, f"{where}.betas") for name, beta in zip(("beta1", "beta2"), betas, strict=True)}
    weak: _Told = {}
    if any("base_momentum" in group for group in groups):  # a scheduler moves these up and down
        sure = {name: told for name, told in sure.items() if name not in ("momentum", "beta1")}
    if top := _top(groups[0]):
        sure["lr"] = (_agreed(groups, top), f"{where}.{top}")
    else:
        weak["lr"] = (_agreed(groups, "lr"), f"{where}.lr, as the training ended")
    word, doubt = _family(kind, groups)
    (weak if doubt else sure)["optimizer"] = (word, where + doubt)
    return sure, weak


def _kind(groups: Sequence[Mapping[str, Any]]) -> str:
    """Return ``sgd`` or ``adam``, or :data:`_OTHER` for an update rule that is neither."""
    if any(group.get("maximize") or group.get("amsgrad") for group in groups):
        return _OTHER
    keys = [frozenset(group) for group in groups]
    kinds = (kind for kind, own in _GROUP_KEYS.items() if all(own <= k <= own | _ANY_GROUP_KEYS for k in keys))
    return next(kinds, _OTHER)


def _top(group: Mapping[str, Any]) -> str:
    """Return the key of the highest learning rate if a scheduler left one; CyclicLR leaves its lowest."""
    if "base_momentum" in group and "max_lr" not in group:
        return "max_lr"
    return next((key for key in ("max_lr", "initial_lr") if key in group), "")


def _family(kind: str, groups: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the optimizer and, if that is not certain, why."""
    if kind == "sgd" or not any(_plain(group.get("weight_decay")) for group in groups):
        return kind, ""  # without weight decay AdamW is Adam
    decoupled = _agreed(groups, "decoupled_weight_decay")
    if decoupled is None:
        return "adam", " of Adam or AdamW, which older versions of torch save alike"
    return "adamw" if decoupled else "adam", ""


def _agreed(groups: Sequence[Mapping[str, Any]], key: str) -> object:
    """Return the value that all groups have, or ``None``."""
    values = [_plain(group.get(key)) for group in groups]
    return values[0] if all(value == values[0] for value in values) else None


def _plain(value: object) -> object:
    """Return a number, or a list of them, without tensors."""
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else None
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _settings(values: object, where: str = "") -> _Told:
    """Return what a flat mapping tells, by the usual names of its keys."""
    if not isinstance(values, Mapping):
        return {}
    told: _Told = {}
    for name, keys in _ALIASES.items():
        key = next((key for key in keys if _sound(name, values.get(key)) is not None), "")
        voided = any(_is_number(values.get(other)) and values[other] > most for other, most in _VOIDED.get(name, ()))
        if key and not voided:
            told[name] = (values[key], where + key)
    return told


def _read_text(file: Path) -> bytes:
    with file.open("rb") as stream:
        content = stream.read(MAX_TEXT + 1)
    if len(content) > MAX_TEXT:
        raise ValueError(f"{file} is too large")
    return content


def _from_json(file: Path) -> _Artefact:
    return _Artefact(file, [_settings(json.loads(_read_text(file)))])


def _from_yaml(file: Path) -> _Artefact:
    """Read the lines ``key: scalar`` that are not indented; everything else in the file is passed over."""
    lines = (line.partition(" #")[0].rstrip() for line in _read_text(file).decode().splitlines() if len(line) < 200)
    pairs = (match.groups() for line in lines if (match := re.fullmatch(r"([A-Za-z_]\w*):[ \t]+(\S.*)", line)))
    return _Artefact(file, [_settings({key: _scalar(text) for key, text in pairs})])


def _scalar(text: str) -> bool | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text, re.ASCII):
        return float(text)
    return text.strip("'\"")


def _from_trainer_state(file: Path) -> _Artefact:
    """Read what the trainer of Hugging Face writes beside every checkpoint."""
    state = json.loads(_read_text(file))
    key = "epoch" if _is_number(state.get("epoch")) else "num_train_epochs"
    epochs = _nearly_whole(state.get(key))
    sure: _Told = {
        "epochs": (epochs, key),
        "batch_size": (state.get("train_batch_size"), "train_batch_size, before any gradient accumulation"),
        "lr": (_logged_top(state.get("log_history")), "the largest learning_rate in log_history"),
    }
    counts = {"global_step": state.get("global_step"), "epoch": epochs if key == "epoch" else None}
    return _Artefact(file, [sure], counts=counts)


def _nearly_whole(value: object) -> int | None:
    """Return the whole number at ``value``: the trainer counts 2.98 epochs where the last batches were left out."""
    if not (_is_number(value) and 0 <= value < 10**6):
        return None
    return round(value) if abs(value - round(value)) < 0.05 else None


def _logged_top(log: object) -> float | None:
    """Return the largest learning rate in a log, if the log is too dense to have missed a much larger one."""
    entries = (
        [entry.get("learning_rate") for entry in log if isinstance(entry, Mapping)] if isinstance(log, list) else []
    )
    rates = [entry for entry in entries if _is_number(entry)]
    top = max(range(len(rates)), key=rates.__getitem__, default=0)
    return rates[top] if top + 1 < len(rates) and rates[top + 1] >= 0.98 * rates[top] else None


_BESIDE: dict[str, Callable[[Path], _Artefact]] = {
    **dict.fromkeys(("optimizer.pt", "optimizer.bin", "optimizer.pth"), _from_torch),
    "trainer_state.json": _from_trainer_state,
    **dict.fromkeys(("hparams.yaml", "hparams.yml"), _from_yaml),
    **dict.fromkeys(("training_args.json", "args.json", "hparams.json"), _from_json),
}
"""Readers of the files in a checkpoint's folder, the most trustworthy first."""
