"""The first layer that the data enter, and the row space of the data that its change shows."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..contract.attack import Unsupported, generator
from ..contract.recipe import Recipe
from ..contract.victim import Victim
from ..layers.rounding import noise, stored
from ..layers.spectrum import spectrum
from .ladder import made


@dataclass(frozen=True)
class Layer:
    """The first trained linear layer that constant inputs enter.

    Attributes:
        path: Name of the module.
        features: Its inputs are not the network's own but features of a part of the network that did not change.
        bias: Whether it has one.
    """

    path: str
    features: bool
    bias: bool

    def name(self, kind: str) -> str:
        """Return the name of the parameter ``kind`` (``weight`` or ``bias``) of this layer."""
        return f"{self.path}.{kind}" if self.path else kind


@dataclass(frozen=True)
class Subspace:
    """The row space of the training data, in float64 on the device of the victim.

    Attributes:
        layer: Where it was read.
        rows: (r, d) orthonormal; every training input is a combination of them.
        values: (r,) singular values of ``change``, descending.
        count: Number of training samples n, where the spectrum shows it; else 0.
        gap: The first singular value left out over the last one kept.
        change: (width, d) change of the weight, weight decay undone.
        bias_change: (width,) that of the bias, or ``None``.
        shrink: The factor alpha of weight decay, 1 for none.
    """

    layer: Layer
    rows: Tensor
    values: Tensor
    count: int
    gap: float
    change: Tensor
    bias_change: Tensor | None
    shrink: float


def subspace(victim: Victim, recipe: Recipe) -> Subspace:
    """Return the row space of the data. Raises :class:`Unsupported` with the reason where it cannot be read."""
    if recipe.optimizer != "sgd":
        raise Unsupported(
            f"{recipe.optimizer} rescales every weight by itself, so the change of the first layer has full rank and "
            "does not show the row space of the data.",
            "Only SGD, with or without momentum, preserves it; simudy needs no such structure.",
        )
    layer = first_layer(victim)
    weight = victim.theta0[layer.name("weight")], victim.thetaf[layer.name("weight")]
    if min(weight[0].shape) < 2:
        raise Unsupported(
            "the first linear layer has one output or input: its change has rank one whatever the data.",
            "simudy needs no such structure.",
        )
    name = layer.name("bias")
    bias = (victim.theta0[name], victim.thetaf[name]) if layer.bias and name in victim.theta0 else None
    balanced = len(weight[0]) == victim.classes > 1
    if bias is not None and made(weight[0], bias[0]):
        raise Unsupported(
            f"the units of {layer.path} share one direction, so that which of them an input passed does not tell it "
            "from mixtures.",
            "imprint reads such a layer.",
        )
    found = spectrum(weight, noise(weight, [stored(side) for side in weight]), bias, balanced=balanced)
    edge, values = found.edge, found.values
    if edge.kind == "none":
        raise Unsupported(
            "the change of the first linear layer shows no row space of the data: its singular values have no gap.",
            "There are more training samples than the layer can show, or its weights are rounded too coarsely.",
        )
    if edge.rank >= found.room:
        raise Unsupported(
            f"the change of the first linear layer has rank {edge.rank}, the most that its live units and inputs "
            "allow: there may have been more samples than that.",
            "simudy needs no such structure.",
        )
    return Subspace(
        layer, found.rows(edge.rank), values[: edge.rank], edge.rank if edge.clear else 0,
        float(values[edge.rank] / values[edge.rank - 1]), found.change, found.bias_change, found.factor,
    )  # fmt: skip


def first_layer(victim: Victim) -> Layer:
    """Return the first trained linear layer with constant inputs. Raises :class:`Unsupported` if there is none.

    Found by running the network on noise: the layer's input must not depend on any trained parameter.
    """
    found: list[tuple[str, nn.Linear, Tensor]] = []
    paths = {module: path for path, module in victim.module.named_modules()}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        if isinstance(module, nn.Linear):
            found.append((paths[module], module, inputs[0]))

    x = torch.randn(2, *victim.shape, generator=generator(0)).to(victim.like)
    leaves = {name: value.detach().requires_grad_() for name, value in victim.theta0.items()}
    hooks = [module.register_forward_hook(note) for module in paths]
    try:
        with torch.enable_grad():
            victim.logits(leaves, x)
    finally:
        for hook in hooks:
            hook.remove()
    for path, module, given in found:
        name = f"{path}.weight" if path else "weight"
        if name in victim.theta0:
            return _checked(victim, path, module, given, x)
    raise Unsupported(
        "the network has no trained linear layer.", "The row space of the data shows only in such a layer."
    )


def _checked(victim: Victim, path: str, module: nn.Linear, given: Tensor, x: Tensor) -> Layer:
    if given.requires_grad:
        raise Unsupported(
            f"the inputs of the first linear layer ({path}) change during training, as layers before it are trained.",
            "It must be fed by the input itself or by a part of the network that is frozen.",
        )
    if victim.running:
        raise Unsupported(
            f"the inputs of {path} change during training, as batch norm before it is in train mode.",
            "It must be fed by the input itself or by a part of the network that is frozen.",
        )
    if given.dim() != 2:
        raise Unsupported(
            f"{path} sees {given.dim() - 1}-dimensional inputs, not one vector per sample.",
            "The row space of the data shows only where every sample is one vector.",
        )
    features = given.shape[1] != x[0].numel() or not torch.equal(given.flatten(), x.flatten())
    return Layer(path, features, module.bias is not None)
