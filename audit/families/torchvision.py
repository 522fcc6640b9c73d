"""Networks of torchvision: whichever of its builders has the names and shapes of a checkpoint."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from ...attacks.contract.params import Params
from ..plugins import nearest, one_line
from .base import Architecture, UnknownArchitecture
from .building import Build, Whole, best, described, made, made_again, made_whole
from .endings import MARK
from .patches import Sizes, sizes

MARKERS = {
    "features.conv0.weight": ("densenet",),
    "features.1.0.layer_scale": ("convnext",),
    "features.1.0.block.1.fc1.weight": ("efficientnet_b",),
    "features.1.0.block.0.0.weight": ("efficientnet_v2",),
    "features.1.block.0.0.weight": ("mobilenet_v3",),
    "features.1.conv.0.0.weight": ("mobilenet_v2",),
    "features.1.0.attn.relative_position_bias_table": ("swin_t", "swin_s", "swin_b"),
    "features.1.0.attn.logit_scale": ("swin_v2",),
    "trunk_output.block1.block1-0.f.se.fc1.weight": ("regnet_y",),
    "trunk_output.block1.block1-0.f.a.0.weight": ("regnet_x",),
    "stage2.0.branch1.0.weight": ("shufflenet",),
    "features.3.squeeze.weight": ("squeezenet",),
    "inception3a.branch1.conv.weight": ("googlenet",),
    "Conv2d_1a_3x3.conv.weight": ("inception",),
    "layers.8.0.layers.0.weight": ("mnasnet",),
    "blocks.0.layers.0.layers.MBconv.layers.pre_norm.weight": ("maxvit",),
    "classifier.4.weight": ("alexnet",),
}
"""Beginnings of builders' names, by the name of a tensor that only their networks have, and maybe a later line's."""

_PLACES, _BLOCK = "encoder.pos_embedding", "encoder.layers.encoder_layer_{}.mlp.0.weight"
"""Tensors of torchvision's vision transformers."""

_FIRST = {"googlenet": "conv1.conv.weight", "inception_v3": "Conv2d_1a_3x3.conv.weight"}
"""First layers of the builders that take ImageNet's normalisation back, as told, which no tensor shows."""

TRANSFORM = "transform_input"
"""The fact in :attr:`.base.Architecture.assumed` that such a network was told to: torchvision tells pretrained ones."""

_BUILT_FOR = {"maxvit_t": 224}
"""Builders whose networks take images of one size only."""


class Torchvision:
    """Vision transformers of any size, and every other network of torchvision, found by a name that only it has.

    ResNets and VGGs have families of their own, which read any depth and width.
    """

    name: ClassVar[str] = "torchvision"

    def recognise(self, tensors: Params) -> Architecture | None:
        """Return the builder's network with the most names and shapes of the checkpoint; None without a marker."""
        found = best(_names(tensors), built, tensors)
        return described(self.name, found, tensors, image_size(found.name, found.settings)) if found else None

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network on the meta device."""
        return made_again(_maker, architecture)


def built(name: str, tensors: Params) -> Build | None:
    """Return a builder's network fitted to the checkpoint as far as it goes; None where its classifier cannot.

    Args:
        name: Of torchvision's builder, or ``vit`` for a vision transformer of the checkpoint's sizes.
        tensors: The checkpoint's, by name.
    """
    seen = _sizes(tensors) if name == "vit" else None
    title = f"torchvision {seen.title if seen else name}"
    settings = _settings(name, tensors)
    found = made(_maker, name, settings, tensors, title)
    return found and found._replace(assumed=seen.assumed if seen else _told(settings))


def whole(name: str, tensors: Params) -> Whole:
    """Return a network, fitted to the checkpoint as far as it goes.

    Args:
        name: One that is :func:`known`.
        tensors: The checkpoint's, by name.
    """
    settings = _settings(name, tensors)
    module, assumed = made_whole(_maker, name, settings, tensors)
    return Whole(module, *image_size(name, settings), (*_told(settings), *assumed))


def image_size(name: str, settings: Mapping[str, Any]) -> tuple[int, bool]:
    """Return height and width of the images in pixels, and whether the network of a builder takes no others."""
    if "image_size" in settings:
        return settings["image_size"], True
    if name in _BUILT_FOR:
        return _BUILT_FOR[name], True
    default = library().get_model_weights(name).DEFAULT
    return int(default.transforms.keywords["crop_size"]), False


def library() -> Any:
    """Return torchvision's models.

    Raises:
        UnknownArchitecture: It cannot be imported.
    """
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # "operator torchvision::nms does not exist" is a RuntimeError
        raise UnknownArchitecture(
            f"torchvision cannot be imported next to torch {torch.__version__} ({one_line(error)}).",
            "Install torch and torchvision of one release from one package index: https://pytorch.org/get-started.",
        ) from error
    return models


def known(name: str) -> str:
    """Return the name of a builder if there is one.

    Raises:
        UnknownArchitecture: There is none.
    """
    models = library()
    names = models.list_models(module=models)
    if name not in names:
        raise UnknownArchitecture(f"torchvision has no classification model {name!r}.", nearest(name, names))
    return name


def _names(tensors: Params) -> Iterator[str]:
    """Yield the builders that may have made the checkpoint, by name."""
    if _sizes(tensors):
        yield "vit"
    for starts in (starts for marker, starts in MARKERS.items() if marker in tensors):
        models = library()
        yield from (name for name in models.list_models(module=models) if name.startswith(starts))


def _sizes(tensors: Params) -> Sizes | None:
    return sizes(tensors, "conv_proj.weight", _PLACES, _BLOCK, (1,))


def _settings(name: str, tensors: Params) -> dict[str, Any]:
    """Return what a builder is to be told, as the checkpoint shows it."""
    seen = _sizes(tensors) if name.startswith("vit") else None
    if name in _FIRST:
        aux = "aux1.fc1.weight" in tensors or "AuxLogits.fc.weight" in tensors
        first = tensors.get(_FIRST[name])
        colour = first is not None and first.ndim == 4 and first.shape[1] == 3
        return {"aux_logits": aux, "init_weights": False, TRANSFORM: colour}
    if seen is None:
        return {}
    if name != "vit":
        return {"image_size": seen.image}
    middle = tensors.get("heads.pre_logits.weight")
    return {
        "image_size": seen.image,
        "patch_size": seen.patch,
        "num_layers": seen.layers,
        "num_heads": seen.heads,
        "hidden_dim": seen.width,
        "mlp_dim": seen.between,
        "representation_size": None if middle is None else len(middle),
    }


def _told(settings: Mapping[str, Any]) -> tuple[str, ...]:
    return (TRANSFORM,) if settings.get(TRANSFORM) else ()


def _maker(name: str, settings: Mapping[str, Any], classes: int = MARK) -> Callable[[], nn.Module]:
    models = library()
    if name == "vit":
        return lambda: models.VisionTransformer(**settings, num_classes=classes)
    return lambda: models.get_model(name, weights=None, num_classes=classes, **settings)
