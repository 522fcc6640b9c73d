"""What a model family is; which family a checkpoint belongs to; and the victim that attacks see."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ...attacks.contract.params import Params
from ..checkpoints.names import COUNTER, aligned, plain_names
from .beside import Beside
from .beside import UnknownArchitecture as UnknownArchitecture

GROUP = "memaudit.families"
"""Entry-point group of the families; each entry is a class without constructor arguments."""

IMAGE_SIZE = "image_size"
"""The fact in :attr:`Architecture.assumed` that ``--image-size`` settles."""


@dataclass(frozen=True)
class Architecture:
    """A network as far as its tensors tell.

    Attributes:
        family: Name of the entry point, or ``custom``.
        name: For people, e.g. ``ResNet-18, CIFAR stem``.
        layout: All that the family needs to build it again: numbers, strings and tuples of them.
        classes: Number of logits k; one for a binary classifier with the logistic loss.
        shape: Of one input: (c, h, w) of an image, (L, D) of a sentence.
        assumed: Facts that the tensors do not show and that were guessed, e.g. ``image_size``.
        score: Share of tensors whose name and shape agree, in [0, 1]; 1 is a match.
        medium: The kind of record that its inputs stand for, such as ``image`` or ``text``.
    """

    family: str
    name: str
    layout: Mapping[str, Any]
    classes: int
    shape: tuple[int, ...]
    assumed: tuple[str, ...] = ()
    score: float = 0.0
    medium: str = "image"

    @property
    def categories(self) -> int:
        """How many values a label takes: k, and two where there is one logit."""
        return max(self.classes, 2)


class Family(Protocol):
    """One kind of network. Knows its tensors' names and shapes; never reads their values."""

    name: ClassVar[str]

    def recognise(self, tensors: Params) -> Architecture | None:
        """Return the nearest network of this family with its score (see :func:`scored`), None for another family."""
        ...

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network on the meta device, so that no file, however hostile, makes us allocate memory."""
        ...


@runtime_checkable
class FolderFamily(Protocol):
    """A family whose networks also need what lies beside the weights, such as a configuration."""

    def recognise_folder(self, tensors: Params, beside: Beside) -> Architecture | None:
        """Return what :meth:`Family.recognise` does, from tensors and what lies beside them."""
        ...


def scored(architecture: Architecture, module: nn.Module, tensors: Params) -> Architecture:
    """Return ``architecture`` with the share of the tensors of checkpoint and network whose name and shape agree."""
    expected = tensor_names(module, tensors).values()
    names = {name for name in {*expected, *tensors} if not name.endswith(COUNTER)}
    return replace(architecture, score=1 - len(misfits(tensors, module)) / max(len(names), 1))


def tensor_names(module: nn.Module, tensors: Params) -> dict[str, str]:
    """Return a checkpoint's names by those of the module's state dict, wrappers and prefixes of either side aside.

    A module whose library saves tensors under other names tells these as ``filed``, by the names in its state dict.
    Losses and metrics of the module are left out; what the checkpoint lacks has the name that it should have there.
    """
    state: dict[str, Tensor] = module.state_dict()
    filed: Mapping[str, str] = getattr(module, "filed", {})
    plain = {name: filed.get(name, short) for name, short in plain_names(state).items()}
    if tensors.keys() >= set(plain.values()):
        return plain
    moved = aligned({short: state[name] for name, short in plain.items()}, tensors)
    return {name: moved[short] for name, short in plain.items()}


def misfits(tensors: Params, module: nn.Module) -> tuple[str, ...]:
    """Return one phrase for each tensor that checkpoint and network do not have in common, counters aside."""
    state, names = module.state_dict(), tensor_names(module, tensors)
    expected, twins = {names[name]: state[name] for name in names}, _twins(module, names)
    phrases = []
    for name in [*tensors, *(name for name in expected if name not in tensors)]:
        here, there = (tuple(side[name].shape) if name in side else None for side in (tensors, expected))
        if here == there or name.endswith(COUNTER):
            continue
        if here is None and any(twin in tensors for twin in twins.get(name, ())):
            continue  # a tied tensor that was saved once, as safetensors.torch.save_model does
        if there is None:
            phrases.append(f"{name!r} is not part of the network")
        elif here is None:
            phrases.append(f"{name!r} is missing from the checkpoint")
        else:
            phrases.append(f"{name!r} is {here} in the checkpoint and {there} in the network")
    return tuple(phrases)


def fitted(tensors: Params, module: nn.Module) -> dict[str, Tensor]:
    """Return every entry of the module's state dict from ``tensors``.

    Batch-norm counters that these lack are zero; losses and metrics, which no checkpoint keeps, are the module's own.
    """
    state, names = module.state_dict(), tensor_names(module, tensors)
    twins = _twins(module, names)

    def found(name: str) -> Tensor:
        known = (name, *twins.get(name, ()))
        if name.endswith(COUNTER) and name not in tensors:
            return torch.zeros((), dtype=torch.int64)
        return tensors[next(alias for alias in known if alias in tensors)]

    return {name: found(names[name]) if name in names else own for name, own in state.items()}


def unfitted(values: Params, module: nn.Module, tensors: Params) -> dict[str, Tensor]:
    """Return ``tensors`` with ``values`` of the module's state dict in them, under every name that stands for each."""
    names = tensor_names(module, tensors)
    twins, known = _twins(module, names), {names[name]: value for name, value in values.items() if name in names}
    named = {alias: value for name, value in known.items() for alias in (name, *twins.get(name, ()))}
    return {name: named.get(name, value) for name, value in tensors.items()}


def image_shape(features: int) -> tuple[int, int, int]:
    """Return the (c, h, w) of the square colour or grey image with this many numbers, (1, 1, features) if none has."""
    for channels in (3, 1):
        side = math.isqrt(features // channels)
        if channels * side * side == features:
            return channels, side, side
    return 1, 1, features


def _twins(module: nn.Module, names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return, by the name of each tied parameter in the checkpoint, the other names of the same parameter there."""
    groups: dict[int, list[str]] = {}
    for name, value in module.named_parameters(remove_duplicate=False):
        if name in names:
            groups.setdefault(id(value), []).append(names[name])
    return {name: tuple(twin for twin in names if twin != name) for names in groups.values() for name in names}
