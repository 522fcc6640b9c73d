"""LoRA layers put into a network: beside each adapted weight W, the factors A and B of what training added to it."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from ... import MemauditError
from ...attacks.contract.params import Params
from ..checkpoints.adapter import DOWN, UP
from ..checkpoints.names import plain_names
from ..checkpoints.pair import CheckpointPair
from .base import Architecture, UnknownArchitecture, tensor_names
from .beside import NOTHING, Beside
from .detect import detect


class Factor(nn.Module):
    """One of the two factors of a low-rank update: a matrix, or the kernels of a convolution.

    It is no layer of a kind that attacks know: what they read off the change of a layer holds for whole weights, and
    the start of A may be a stand-in. Simulated training and gradients need no such knowledge.

    Args:
        like: A weight of the network, for dtype and device.
        shape: Of the factor.
    """

    def __init__(self, like: Tensor, shape: torch.Size) -> None:
        super().__init__()
        self.weight = nn.Parameter(like.new_empty(shape))


def network(
    pair: CheckpointPair, model: str = "auto", image_size: int | None = None, beside: Beside = NOTHING
) -> tuple[Architecture, nn.Module]:
    """Find the network of a pair, with LoRA layers where it has an adapter.

    Args:
        pair: The two checkpoints; the network is told by the base alone.
        model: As in :func:`.detect.detect`, and so the others.
        image_size: The same.
        beside: The same.

    Raises:
        UnknownArchitecture: Nothing fits, or what is adapted is neither a linear layer nor a plain convolution.
        PluginError: There is no family of the name ``model``.
    """
    architecture, module = detect(pair.network, model, image_size, beside)
    if not pair.lora:
        return architecture, module
    names = {name: own for own, name in reversed(tensor_names(module, pair.network).items())}
    ranks = set[int]()
    for layer, scale in pair.lora.items():
        down, up = (pair.after.tensors[f"{layer}.{part}"].shape for part in (DOWN, UP))
        _adapt(module.get_submodule(names[f"{layer}.weight"].rpartition(".")[0]), layer, (down, up), scale)
        ranks.add(down[0])
    told = f"{min(ranks)}" if len(ranks) == 1 else f"{min(ranks)} to {max(ranks)}"
    return replace(architecture, name=f"{architecture.name}, LoRA of rank {told}"), module


def own_names(model: str, image_size: int | None, beside: Beside, tensors: Params) -> dict[str, str]:
    """Return the names that a network has for its tensors by those in its file, where its library files others.

    None where nothing is recognised, or the network is the user's own. Arguments as in :func:`network`.
    """
    if ":" in model or model.endswith(".py"):
        return {}
    try:
        _, module = detect(tensors, model, image_size, beside)
    except MemauditError:
        return {}
    plain, filed = plain_names(module.state_dict()), getattr(module, "filed", {})
    return {other: plain[name] for name, other in filed.items() if name in plain}


def _adapt(layer: nn.Module, name: str, shapes: tuple[torch.Size, torch.Size], scale: float) -> None:
    """Let a layer compute ``W x + scale * B A x``, with A and B as parameters of its own."""
    if not isinstance(layer, nn.Linear) and not (isinstance(layer, nn.Conv2d) and layer.groups == 1):
        raise UnknownArchitecture(
            f"The adapter adapts {name!r}, a {type(layer).__name__}{_groups(layer)}, and memaudit reads LoRA on linear "
            "layers and on convolutions without groups.",
            "Where PEFT can merge it (merge_and_unload), the merged weights can be read.",
        )
    weight = layer.weight.detach()
    for part, shape in zip(("lora_A", "lora_B"), shapes, strict=True):
        layer.add_module(part, Factor(weight, shape))
    layer.register_forward_hook(partial(_forward, scale))


def _groups(layer: nn.Module) -> str:
    return f" of {layer.groups} groups" if isinstance(layer, nn.Conv2d) else ""


def _forward(scale: float, layer: Any, given: tuple[Tensor, ...], result: Tensor) -> Tensor:
    down, up = layer.lora_A.weight, layer.lora_B.weight
    if isinstance(layer, nn.Conv2d):
        return result + scale * conv2d(layer._conv_forward(given[0], down, None), up)
    return result + scale * linear(linear(given[0], down), up)
