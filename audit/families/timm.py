"""Networks of the library timm (extra ``timm``): vision transformers of any size, and whatever else it has by name."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, ClassVar

from torch import nn

from ...attacks.contract.params import Params
from ..plugins import nearest, one_line
from .base import Architecture, UnknownArchitecture
from .beside import NOTHING, Beside
from .building import Build, Whole, best, described, made, made_again, made_whole
from .endings import MARK
from .patches import Sizes, sizes

MARKERS = {
    "blocks.0.attn.relative_position_bias_table": ("beit",),
    "dist_token": ("deit",),
    "conv_stem.weight": ("efficientnet", "mobilenetv3", "hardcorenas", "ghostnet"),
    "stages.0.blocks.0.conv_dw.weight": ("convnext",),
    "s1.b1.conv1.conv.weight": ("regnet",),
    "layers.0.blocks.0.attn.relative_position_bias_table": ("swin_transformer",),
    "layers.0.blocks.0.attn.logit_scale": ("swin_transformer_v2",),
    "blocks.0.mlp_tokens.fc1.weight": ("mlp_mixer",),
    "stages.0.blocks.0.norm1.weight": ("resnetv2",),
    "layer1.0.se.fc1.weight": ("resnet:*se*",),
    "layer1.0.se.conv.weight": ("resnet:*eca*",),
    "conv1.0.weight": ("resnet",),
    "stages.0.blocks.0.token_mixer.pool.weight": ("metaformer",),
}
"""Files of timm, with a pattern of names where it helps, by the name of a tensor that few others have."""

VARIANT = "timm_variant"
"""The fact in :attr:`.base.Architecture.assumed` that of timm's networks with equal tensors it is the named one."""

_BLOCK = "blocks.{}.mlp.fc1.weight"
_FIRST = ("cls_token", "dist_token", "reg_token")
"""Tokens that are no patches."""

_NEVER = ("test_",)
"""Beginnings of names that timm has for its own tests."""


class Timm:
    """What timm's own training scripts and its users save."""

    name: ClassVar[str] = "timm"

    def recognise(self, tensors: Params) -> Architecture | None:
        """Return timm's network with the most names and shapes of the checkpoint; None where none is like it."""
        return self.recognise_folder(tensors, NOTHING)

    def recognise_folder(self, tensors: Params, beside: Beside) -> Architecture | None:
        """Return what :meth:`recognise` does; the name that timm writes into ``config.json`` comes first.

        Raises:
            UnknownArchitecture: The tensors have timm's names, and timm is not installed.
        """
        named = str(beside.settings.get("architecture", "")).partition(".")[0]
        found = best(_names(tensors, named), built, tensors)
        if found is None:
            return None
        image = image_size(found.module, found.settings)
        sure = (image[1] and found.name == "vit") or found.name == named
        return described(self.name, found, tensors, image, () if sure else (VARIANT,))

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network on the meta device."""
        return made_again(_maker, architecture)


def built(name: str, tensors: Params) -> Build | None:
    """Return one of timm's networks fitted to the checkpoint as far as it goes; None where its classifier cannot.

    Args:
        name: As timm calls it, or ``vit`` for a vision transformer of the checkpoint's sizes.
        tensors: The checkpoint's, by name.
    """
    seen = _sizes(tensors) if name == "vit" else None
    title = f"timm {seen.title if seen else name}"
    found = made(_maker, name, _settings(name, tensors), tensors, title)
    return found._replace(assumed=seen.assumed) if found and seen else found


def whole(name: str, tensors: Params) -> Whole:
    """Return a network, fitted to the checkpoint as far as it goes.

    Args:
        name: One that is :func:`known`.
        tensors: The checkpoint's, by name.
    """
    settings = _settings(name, tensors)
    module, assumed = made_whole(_maker, name, settings, tensors)
    return Whole(module, *image_size(module.net, settings), assumed)


def image_size(module: Any, settings: Mapping[str, Any]) -> tuple[int, bool]:
    """Return height and width of the images in pixels, and whether a network of the library takes no others."""
    if "img_size" in settings:
        return settings["img_size"], True
    inside = getattr(module, "patch_embed", None)
    if inside is not None and getattr(inside, "strict_img_size", False) and inside.img_size:
        return int(inside.img_size[0]), True
    return int(module.default_cfg["input_size"][1]), False


def library() -> Any:
    """Return the library.

    Raises:
        UnknownArchitecture: It is not installed, or cannot be imported.
    """
    try:
        import timm
    except ImportError:
        raise UnknownArchitecture(
            "The tensors are named as timm names them, and timm is not installed.",
            "Run pip install '.[timm]' in a checkout of memaudit.",
        ) from None
    except Exception as error:  # a timm for another torch
        raise UnknownArchitecture(f"timm cannot be imported ({one_line(error)}).", "Install timm anew.") from error
    return timm


def known(name: str) -> str:
    """Return a name without its tag if timm has such a network.

    Raises:
        UnknownArchitecture: It has none, or is not installed.
    """
    names, name = library().list_models(), name.partition(".")[0]
    if name not in names:
        raise UnknownArchitecture(f"timm has no network {name!r}.", nearest(name, names))
    return name


def _names(tensors: Params, named: str) -> Iterator[str]:
    """Yield the networks that the checkpoint may be, the likeliest first."""
    if named and named in library().list_models():
        yield named
    if _sizes(tensors) and "dist_token" not in tensors:
        library()
        yield "vit"
    files = [file for marker, files in MARKERS.items() if marker in tensors for file in files]
    for file in dict.fromkeys(files):
        names = _models(file)
        yield from sorted(names, key=lambda name: (name.startswith("tf_"), name.count("_"), len(name), name))


@cache
def _models(file: str) -> tuple[str, ...]:
    module, _, pattern = file.partition(":")
    names = library().list_models(pattern or "*", module=module)
    return tuple(name for name in names if not name.startswith(_NEVER))


def _sizes(tensors: Params) -> Sizes | None:
    """Return the sizes of a vision transformer: its position embedding has places for the first tokens, or has none."""
    if "blocks.0.attn.qkv.weight" not in tensors:
        return None
    first = sum(tensors[name].shape[1] for name in _FIRST if _is_tokens(tensors, name))
    return sizes(tensors, "patch_embed.proj.weight", "pos_embed", _BLOCK, (first, 0))


def _is_tokens(tensors: Params, name: str) -> bool:
    return name in tensors and tensors[name].ndim == 3


def _settings(name: str, tensors: Params) -> dict[str, Any]:
    """Return what a builder is to be told, as the checkpoint shows it."""
    seen = _sizes(tensors)
    if name.startswith("swin"):
        return {"strict_img_size": False}
    if not seen:
        return {}
    if name != "vit":
        return {"img_size": seen.image}
    tokens = tensors["pos_embed"].shape[1]
    norm = tensors.get("blocks.0.attn.q_norm.weight")
    return {
        "img_size": seen.image,
        "patch_size": seen.patch,
        "embed_dim": seen.width,
        "depth": seen.layers,
        "num_heads": seen.heads if norm is None or not norm.numel() else max(seen.width // norm.numel(), 1),
        "mlp_ratio": seen.between / seen.width,
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
        "qk_norm": norm is not None,
        "init_values": 1e-5 if "blocks.0.ls1.gamma" in tensors else None,
        "class_token": "cls_token" in tensors,
        "no_embed_class": tokens == (seen.image // seen.patch) ** 2,
        "reg_tokens": tensors["reg_token"].shape[1] if _is_tokens(tensors, "reg_token") else 0,
        "pre_norm": "norm_pre.weight" in tensors,
        "global_pool": "avg" if "fc_norm.weight" in tensors or "cls_token" not in tensors else "token",
        "fc_norm": "fc_norm.weight" in tensors,
    }


def _maker(name: str, settings: Mapping[str, Any], classes: int = MARK) -> Callable[[], nn.Module]:
    timm = library()
    if name == "vit":
        make = timm.models.vision_transformer.VisionTransformer
        norm = partial(nn.LayerNorm, eps=1e-5) if settings["pre_norm"] else None  # as CLIP has it
        return lambda: make(**settings, num_classes=classes, norm_layer=norm)

    def create() -> nn.Module:
        try:
            module: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, **settings)
        except TypeError:  # not every network can be told a size
            module = timm.create_model(name, pretrained=False, num_classes=classes)
        return module

    return create
