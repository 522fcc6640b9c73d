"""Residual networks (He et al., https://arxiv.org/abs/1512.03385) under the names of torchvision and of CIFAR codes."""

import re
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ...attacks.contract.params import Params
from .base import IMAGE_SIZE, Architecture, UnknownArchitecture, scored

SHORTCUTS = ("downsample", "shortcut")
"""What torchvision and the CIFAR implementations call the projection beside a block."""

HEADS = ("fc", "linear", "classifier", "head")
"""Names of the last layer, or of a sequence, such as dropout and a linear layer, of which it alone has weights."""

GROUPS = "norm_groups"
"""The fact in :attr:`.base.Architecture.assumed` that layers of normalisation without statistics are group norm."""

USUAL_GROUPS = 32
"""Groups of group norm (Wu and He, https://arxiv.org/abs/1803.08494, Table 3); fewer channels are a group each."""


class Convolution(NamedTuple):
    """A convolution without bias: channels in and out, side of the kernel, groups."""

    inside: int
    outside: int
    kernel: int
    groups: int


class Plan(NamedTuple):
    """One residual block: its convolutions, its stride and the name of its projection ("" where it has none)."""

    convolutions: tuple[Convolution, ...]
    stride: int
    projection: str


class ResNet:
    """Basic and bottleneck residual networks of any depth, width and grouping, with an ImageNet or a CIFAR stem.

    Normalisation with running statistics is batch norm; without any it is taken for group norm, as timm's
    ``resnet50_gn``, torchvision's ``norm_layer`` and Opacus's ``ModuleValidator.fix`` have it: :data:`USUAL_GROUPS`
    groups, or as many as there are channels where these are fewer.

    Shortcuts are projections (``downsample`` in torchvision, ``shortcut`` in CIFAR implementations) or, in blocks that
    change shape without having one, the parameter-free option A of the paper's CIFAR section.
    """

    name: ClassVar[str] = "resnet"

    def recognise(self, tensors: Params) -> Architecture | None:
        """Return the network whose blocks and widths names and shapes show; None without stem, blocks or head.

        Raises:
            UnknownArchitecture: It has no running statistics, and channels that the usual groups do not divide.
        """
        stem = tensors.get("conv1.weight")
        if stem is None or stem.ndim != 4 or not stem.numel() or stem.shape[2] not in (1, 3, 7):
            return None
        stages = tuple(_stages(tensors, len(stem)))
        head = _head(tensors)
        if not stages or not head:
            return None
        kernel, groups = stem.shape[2], _groups(tensors, len(stem), stages)
        guesses = {IMAGE_SIZE: True, "stem_pooling": kernel == 3 and head.startswith("fc"), GROUPS: groups > 0}
        architecture = Architecture(
            family=self.name,
            name=_title(stages, kernel) + (", group norm" if groups else ""),
            layout={
                "stem": (stem.shape[1], len(stem), kernel),
                "stages": stages,
                "head": head,
                "bias": f"{head}.bias" in tensors,
                "groups": groups,
            },
            classes=len(tensors[f"{head}.weight"]),
            shape=(stem.shape[1], *((64, 64) if kernel == 7 else (32, 32))),
            assumed=tuple(fact for fact, guessed in guesses.items() if guessed),
        )
        return scored(architecture, self.build(architecture), tensors)

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network with ReLU after each norm, as torchvision and the CIFAR implementations compute it."""
        layout = architecture.layout
        head = (layout["head"], architecture.classes, layout["bias"])
        with torch.device("meta"):
            return Residual(layout["stem"], layout["stages"], head, layout["groups"])


class Residual(nn.Module):
    """Stem, stages of residual blocks, global average pooling, linear head.

    Args:
        stem: Channels in, channels out, side of the kernel; a kernel of 7 brings stride 2 and max pooling.
        stages: The blocks of each stage, registered as ``layer1.0`` and so on.
        head: Name under which the last layer is registered, ``fc`` or ``fc.1``, number of logits k, and whether it has
            a bias.
        groups: Of group norm; 0 for batch norm.
    """

    def __init__(
        self,
        stem: tuple[int, int, int],
        stages: tuple[tuple[Plan, ...], ...],
        head: tuple[str, int, bool],
        groups: int = 0,
    ) -> None:
        super().__init__()
        inside, outside, kernel = stem
        self.conv1 = nn.Conv2d(inside, outside, kernel, 2 if kernel == 7 else 1, kernel // 2, bias=False)
        self.bn1 = _norm(outside, groups)
        self.pool = nn.MaxPool2d(3, 2, 1) if kernel == 7 else nn.Identity()
        self.stages = tuple(f"layer{index}" for index in range(1, len(stages) + 1))
        for name, blocks in zip(self.stages, stages, strict=True):
            self.add_module(name, nn.Sequential(*(Block(plan, groups) for plan in blocks)))
        self.head, classes, bias = head
        place, _, index = self.head.partition(".")
        linear = nn.Linear(stages[-1][-1].convolutions[-1].outside, classes, bias)
        self.add_module(place, nn.Sequential(OrderedDict({index: linear})) if index else linear)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, k) of images (b, c, h, w)."""
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        logits: Tensor = self.get_submodule(self.head)(x.mean((2, 3)))
        return logits


class Block(nn.Module):
    """Convolutions with a norm, ReLU between them and after adding the shortcut; the first wide kernel strides."""

    def __init__(self, plan: Plan, groups: int) -> None:
        super().__init__()
        self.depth, self.stride, self.projection = len(plan.convolutions), plan.stride, plan.projection
        strider = next((i for i, convolution in enumerate(plan.convolutions) if convolution.kernel > 1), 0)
        for index, (inside, outside, kernel, parts) in enumerate(plan.convolutions):
            stride = plan.stride if index == strider else 1
            convolution = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=parts, bias=False)
            self.add_module(f"conv{index + 1}", convolution)
            self.add_module(f"bn{index + 1}", _norm(outside, groups))
        if plan.projection:
            inside, outside = plan.convolutions[0].inside, plan.convolutions[-1].outside
            convolution = nn.Conv2d(inside, outside, 1, plan.stride, bias=False)
            self.add_module(plan.projection, nn.Sequential(convolution, _norm(outside, groups)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to (b, c', h / stride, w / stride)."""
        y = x
        for index in range(1, self.depth + 1):
            y = torch.relu(y) if index > 1 else y
            y = self.get_submodule(f"bn{index}")(self.get_submodule(f"conv{index}")(y))
        return torch.relu(y + self._shortcut(x, y.shape[1]))

    def _shortcut(self, x: Tensor, channels: int) -> Tensor:
        if self.projection:
            projected: Tensor = self.get_submodule(self.projection)(x)
            return projected
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        extra = channels - x.shape[1]
        return nn.functional.pad(x, (0, 0, 0, 0, extra // 2, extra - extra // 2)) if extra else x


def _norm(channels: int, groups: int) -> nn.Module:
    return nn.GroupNorm(min(groups, channels), channels) if groups else nn.BatchNorm2d(channels)


def _groups(tensors: Params, stem: int, stages: tuple[tuple[Plan, ...], ...]) -> int:
    """Return the groups of group norm, 0 for batch norm, which has running statistics."""
    if any(name.endswith(("running_mean", "running_var")) for name in tensors):
        return 0
    widths = [stem, *(layer.outside for blocks in stages for plan in blocks for layer in plan.convolutions)]
    odd = next((width for width in widths if width % min(USUAL_GROUPS, width)), 0)
    if odd:
        raise UnknownArchitecture(
            "The norms of this ResNet have no running statistics, and the usual number of groups of group norm, "
            f"{USUAL_GROUPS}, does not divide {odd} channels."
        )
    return USUAL_GROUPS


def _head(tensors: Params) -> str:
    """Return the name of the last layer, "" where there is none or where it has company."""
    layers = {name.rpartition(".")[0] for name, value in tensors.items() if _is_matrix(value)}
    found = [layer for layer in layers if re.fullmatch(rf"({'|'.join(HEADS)})(\.\d+)?", layer)]
    return found[0] if len(found) == 1 else ""


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.ndim == 2 and tensor.numel() > 0


def _stages(tensors: Params, channels: int) -> Iterator[tuple[Plan, ...]]:
    """Read the stages off the names; ``channels`` come out of the stem."""
    for stage in count(1):
        plans: list[Plan] = []
        while convolutions := tuple(_convolutions(tensors, block := f"layer{stage}.{len(plans)}", channels)):
            projection = next((name for name in SHORTCUTS if f"{block}.{name}.0.weight" in tensors), "")
            plans.append(Plan(convolutions, 1 if plans or stage == 1 else 2, projection))
            channels = convolutions[-1].outside
        if not plans:
            return
        yield tuple(plans)


def _convolutions(tensors: Params, block: str, channels: int) -> Iterator[Convolution]:
    for index in count(1):
        weight = tensors.get(f"{block}.conv{index}.weight")
        if weight is None or weight.ndim != 4 or 0 in weight.shape:
            return
        outside, share, kernel, _ = weight.shape
        groups = channels // share if channels % share == 0 else 1
        yield Convolution(channels, outside, kernel, groups if groups and outside % groups == 0 else 1)
        channels = outside


def _title(stages: tuple[tuple[Plan, ...], ...], kernel: int) -> str:
    blocks = [plan for stage in stages for plan in stage]
    first = blocks[0].convolutions
    depth = 2 + sum(len(plan.convolutions) for plan in blocks)
    groups = max(convolution.groups for convolution in first)
    parts = [f"ResNet-{depth}", "ImageNet stem" if kernel == 7 else "CIFAR stem"]
    parts += [f"width {first[0].outside}"] if first[0].outside != 64 else []
    return ", ".join([*parts, f"{groups} groups"] if groups > 1 else parts)
