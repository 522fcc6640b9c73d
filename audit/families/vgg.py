"""VGG networks (Simonyan and Zisserman, https://arxiv.org/abs/1409.1556): stacked 3x3 convolutions and poolings."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ...attacks.contract.params import Params
from .base import IMAGE_SIZE, Architecture, scored


class Convolution(NamedTuple):
    """One step of ``features``: channels in and out, bias, batch norm, and whether max pooling follows."""

    inside: int
    outside: int
    bias: bool
    normalised: bool
    pooled: bool


class VGG:
    """``features.N`` of any widths, with or without batch norm, and a ``classifier`` of one or several layers.

    Gaps in the numbering show where the poolings are; one more stands at the end. Pooling to the side that the
    classifier expects follows, as in torchvision, which is the identity at the side the network was made for.
    """

    name: ClassVar[str] = "vgg"

    def recognise(self, tensors: Params) -> Architecture | None:
        """Return the network that numbers and shapes spell; None without such convolutions and a classifier."""
        indices = _indices(tensors, "features", ndim=4)
        linears = _indices(tensors, "classifier", ndim=2) or ((-1,) if "classifier.weight" in tensors else ())
        heads = tuple(tensors[_head(index) + ".weight"].shape for index in linears)
        if not indices or not heads or len(heads[0]) != 2:
            return None
        features = tuple(_features(tensors, indices))
        side = math.isqrt(heads[0][1] // max(features[-1].outside, 1))
        if not side:
            return None
        size = 64 if side == 7 else side * 2 ** sum(step.pooled for step in features)
        architecture = Architecture(
            family=self.name,
            name=_title(features, len(linears)),
            layout={
                "features": features,
                "side": side,
                "linears": tuple((index, *shape[::-1]) for index, shape in zip(linears, heads, strict=True)),
            },
            classes=heads[-1][0],
            shape=(features[0].inside, size, size),
            assumed=(IMAGE_SIZE,),
        )
        return scored(architecture, self.build(architecture), tensors)

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network without its dropout, which does nothing in eval mode."""
        layout = architecture.layout
        with torch.device("meta"):
            return Stack(layout["features"], layout["side"], layout["linears"])


class Stack(nn.Module):
    """Convolutions, pooling to (side, side), linear layers with ReLU between them.

    Args:
        features: The convolutions, in order.
        side: Height and width of what the classifier sees.
        linears: Position in ``classifier``, features in and out; the position is -1 where it is a single layer.
    """

    def __init__(self, features: tuple[Convolution, ...], side: int, linears: tuple[tuple[int, int, int], ...]) -> None:
        super().__init__()
        self.features = nn.Sequential(*(layer for step in features for layer in _layers(step)))
        self.pool = nn.AdaptiveAvgPool2d(side)
        self.classifier = _classifier(linears)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, k) of images (b, c, h, w)."""
        logits: Tensor = self.classifier(self.pool(self.features(x)).flatten(1))
        return logits


def _layers(step: Convolution) -> Iterator[nn.Module]:
    yield nn.Conv2d(step.inside, step.outside, 3, padding=1, bias=step.bias)
    if step.normalised:
        yield nn.BatchNorm2d(step.outside)
    yield nn.ReLU()
    if step.pooled:
        yield nn.MaxPool2d(2)


def _classifier(linears: tuple[tuple[int, int, int], ...]) -> nn.Module:
    """Return linear layers at their positions, ReLU right after each but the last, nothing elsewhere (dropout)."""
    if linears[0][0] < 0:
        return nn.Linear(*linears[0][1:])
    layers: list[nn.Module] = [nn.Identity() for _ in range(linears[-1][0] + 1)]
    for index, inside, outside in linears:
        layers[index] = nn.Linear(inside, outside)
    for index, _, _ in linears[:-1]:
        layers[index + 1] = nn.ReLU()
    return nn.Sequential(*layers)


def _indices(tensors: Params, group: str, ndim: int) -> tuple[int, ...]:
    parts = [name.split(".") for name, value in tensors.items() if value.ndim == ndim and value.numel()]
    found = [part[1] for part in parts if len(part) == 3 and part[0] == group and part[2] == "weight"]
    return tuple(sorted(int(index) for index in found if index.isdecimal() and len(index) < 4))


def _features(tensors: Params, indices: tuple[int, ...]) -> Iterator[Convolution]:
    for index, following in pairwise((*indices, indices[-1] + 4)):
        outside, inside = tensors[f"features.{index}.weight"].shape[:2]
        normalised = f"features.{index + 1}.running_mean" in tensors
        pooled = following - index > 2 + normalised
        yield Convolution(inside, outside, f"features.{index}.bias" in tensors, normalised, pooled)


def _head(index: int) -> str:
    return f"classifier.{index}" if index >= 0 else "classifier"


def _title(features: tuple[Convolution, ...], linears: int) -> str:
    normalised = " with batch norm" if any(step.normalised for step in features) else ""
    return f"VGG-{len(features) + linears}{normalised}{', CIFAR head' if linears == 1 else ''}"
