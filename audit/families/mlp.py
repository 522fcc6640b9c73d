"""Multi-layer perceptrons: a chain of linear layers with ReLU between them."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...attacks.contract.params import Params
from .base import IMAGE_SIZE, Architecture, image_shape, scored


class MLP:
    """Linear layers of any depth under any names, each with or without bias; one layer is a linear classifier."""

    name: ClassVar[str] = "mlp"

    def recognise(self, tensors: Params) -> Architecture | None:
        """Return the chain that all the matrices form, in the order in which their widths fit; None without one."""
        floating = {name: value for name, value in tensors.items() if value.is_floating_point()}
        matrices = {_layer(name): value for name, value in floating.items() if _is_weight(name) and value.ndim == 2}
        layers = _chain(matrices)
        if not layers or any(value.ndim > 2 or 0 in value.shape for value in floating.values()):
            return None
        widths = (matrices[layers[0]].shape[1], *(len(matrices[layer]) for layer in layers))
        shape = image_shape(widths[0])
        guesses = {"activation": len(layers) > 1, IMAGE_SIZE: shape == (1, 1, widths[0])}
        architecture = Architecture(
            family=self.name,
            name=("MLP " if len(layers) > 1 else "Linear classifier ") + "-".join(str(width) for width in widths),
            layout={"layers": layers, "widths": widths, "biased": tuple(_bias(layer) in floating for layer in layers)},
            classes=widths[-1],
            shape=shape,
            assumed=tuple(fact for fact, guessed in guesses.items() if guessed),
        )
        return scored(architecture, self.build(architecture), tensors)

    def build(self, architecture: Architecture) -> nn.Module:
        """Return flatten, then linear layers with ReLU between them, under the checkpoint's own names."""
        layout = architecture.layout
        sizes = zip(pairwise(layout["widths"]), layout["biased"], strict=True)
        with torch.device("meta"):
            if layout["layers"] == ("",):
                return FlatLinear(*layout["widths"], *layout["biased"])
            linears = [nn.Linear(before, after, bias) for (before, after), bias in sizes]
        return Perceptron(dict(zip(layout["layers"], linears, strict=True)))


class FlatLinear(nn.Linear):
    """A linear layer that is a whole network, saved without any prefix."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, k) of images (b, c, h, w)."""
        return super().forward(x.flatten(1))


class Perceptron(nn.Module):
    """Flatten an image and pass it through linear layers with ReLU between them.

    Args:
        linears: By the dotted path at which each is registered.
    """

    def __init__(self, linears: Mapping[str, nn.Linear]) -> None:
        super().__init__()
        self.paths = tuple(linears)
        for path, linear in linears.items():
            _register(self, path, linear)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, k) of images (b, c, h, w)."""
        x = x.flatten(1)
        for index, path in enumerate(self.paths):
            x = self.get_submodule(path)(torch.relu(x) if index else x)
        return x


def _register(root: nn.Module, path: str, linear: nn.Linear) -> None:
    """Register a layer under a dotted path, as if the classes of the network that was saved had been here."""
    *parents, leaf = path.split(".")
    for parent in parents:
        if parent not in root._modules:
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    root.add_module(leaf, linear)


def _is_weight(name: str) -> bool:
    return name.rpartition(".")[2] == "weight"


def _layer(weight: str) -> str:
    return weight.rpartition(".")[0]


def _bias(layer: str) -> str:
    return f"{layer}.bias".lstrip(".")


def _chain(matrices: Params) -> tuple[str, ...]:
    """Return the layers so that each takes what the one before gives; () if there is no such order.

    A state dict is in the order of its layers, which a file may have lost by sorting the names: then numbers in the
    names tell. If neither order is a chain, the widths alone decide.
    """
    given = list(matrices)
    natural = sorted(given, key=_natural)
    orders = [natural, given] if given == sorted(given) else [given, natural]
    for order in (*orders, _by_widths(matrices, natural)):
        if order and all(matrices[b].shape[1] == len(matrices[a]) for a, b in pairwise(order)):
            return tuple(order)
    return ()


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _by_widths(matrices: Params, names: list[str]) -> list[str]:
    """Return the layers as a path through the widths that uses each once (Hierholzer), [] if there is none."""
    leaving: dict[int, list[str]] = {}
    for name in reversed(names):
        leaving.setdefault(matrices[name].shape[1], []).append(name)
    reached = {len(value) for value in matrices.values()}
    starts = [width for width in leaving if width not in reached]
    if len(starts) != 1:
        return []
    stack, path = [(starts[0], "")], list[str]()
    while stack:
        width, name = stack[-1]
        if leaving.get(width):
            chosen = leaving[width].pop()
            stack.append((len(matrices[chosen]), chosen))
        else:
            path.append(stack.pop()[1])
    order = path[-2::-1]
    return order if len(order) == len(names) else []
