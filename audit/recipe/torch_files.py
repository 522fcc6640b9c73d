"""What a torch file says about a recipe: states of optimizers, and settings beside them; nothing in it is executed.

Files must be archives, as ``torch.save`` has written since version 1.6.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoints.weights import unpack
from .fields import of_optimizer
from .told import OTHER, Artefact, Told, is_number, settings

_STATES = (
    *("optimizer_state_dict", "optimizer", "optim_state_dict", "optim", "optimizer_state"),
    "optimizer_states",  # Lightning: a list
)
"""Keys under which training scripts put the optimizer's state."""

_SETTINGS = ("hyper_parameters", "args", "hparams", "config")
"""Keys under which they put their settings."""

_GROUP_KEYS = {"sgd": of_optimizer("sgd"), "adam": frozenset({"betas", "eps", "amsgrad"})}
"""What identifies a parameter group of :mod:`torch.optim`."""

_ANY_GROUP_KEYS = frozenset(
    {
        *("params", "param_names", "name", "lr", "weight_decay", "decoupled_weight_decay"),
        *("maximize", "foreach", "differentiable", "fused", "capturable"),
        *("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr"),  # put there by schedulers
    }
)
"""What else may be there; any other key belongs to an optimizer that is not simulated."""


def from_torch(file: Path) -> Artefact:
    """Read a checkpoint, or the state of an optimizer beside one.

    Raises:
        CheckpointError: Damaged, no archive, or with more than plain data in it.
    """
    loaded = unpack(file, mmap=True)  # which refuses all but archives
    if not isinstance(loaded, Mapping):
        return Artefact(file)
    where, states = _states(loaded)
    sure, weak = _optimizer([group for state in states for group in state["param_groups"]], f"{where}param_groups")
    found = [settings(loaded.get(key), f"{key}.") for key in _SETTINGS]
    counts = {key: loaded.get(key) for key in ("global_step", "epoch")} | {"optimizer step": _updates(states)}
    return Artefact(file, [sure, *found, settings(loaded)], weak, counts)


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
    return max(filter(is_number, (_plain(entry.get("step")) for entry in entries)), default=None)


def _optimizer(listed: Sequence[Any], where: str) -> tuple[Told, Told]:
    """Return what parameter groups say surely and weakly; values in which they differ are left out."""
    groups = [group for group in listed if isinstance(group, Mapping) and group.get("params")]
    if not groups:
        return {}, {}
    kind = _kind(groups)
    if kind == OTHER:
        return {"optimizer": (OTHER, where)}, {}
    sure = {name: (_agreed(groups, name), f"{where}.{name}") for name in ("weight_decay", "eps", *of_optimizer("sgd"))}
    betas = _agreed(groups, "betas")
    if isinstance(betas, list):
        sure |= {name: (beta, f"{where}.betas") for name, beta in zip(("beta1", "beta2"), betas, strict=True)}
    weak: Told = {}
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
    """Return ``sgd`` or ``adam``, or :data:`OTHER` for an update rule that is neither."""
    if any(group.get("maximize") or group.get("amsgrad") for group in groups):
        return OTHER
    keys = [frozenset(group) for group in groups]
    kinds = (kind for kind, own in _GROUP_KEYS.items() if all(own <= k <= own | _ANY_GROUP_KEYS for k in keys))
    return next(kinds, OTHER)


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
