"""Image classifiers from Hugging Face folders: ViT, Swin, ConvNeXt and more, as ``config.json`` describes them."""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from ...attacks.contract.params import Params
from .base import IMAGE_SIZE, Architecture, UnknownArchitecture, scored
from .beside import PREPROCESSOR, Beside
from .endings import MARK, Fit, apply, fit
from .weightless import Smooth, weightless

KINDS = (
    "beit", "bit", "convnext", "convnextv2", "cvt", "data2vec-vision", "deit", "dinov2", "dinov2_with_registers",
    "efficientnet", "focalnet", "levit", "mobilenet_v1", "mobilenet_v2", "mobilevit", "mobilevitv2", "poolformer",
    "pvt", "pvt_v2", "regnet", "resnet", "segformer", "swiftformer", "swin", "swinv2", "vit", "vit_msn",
)  # fmt: skip
"""Values of ``model_type`` that are read."""

_FIXED = ("beit", "data2vec-vision", "deit", "levit", "pvt", "vit", "vit_msn")
"""Those whose weights fix the size of an image."""

_TWO_HEADS = {"deit": "DeiTForImageClassification", "levit": "LevitForImageClassification"}
"""The library's classes of networks that may have a second classifier, for a teacher."""

_IGNORED = (
    "architectures", "auto_map", "dtype", "torch_dtype", "id2label", "label2id", "num_labels", "pruned_heads",
    "quantization_config", "_attn_implementation", "attn_implementation", "torchscript", "return_dict", "problem_type",
    "trust_remote_code", "out_features", "out_indices", "stage_names",
)  # fmt: skip
"""Settings that name code, say how outputs are given, or that the tensors tell."""

_COUNTS = re.compile("layers|depth|block|stage|repeat|level")
"""Settings that say how often something is built."""

_USUAL, _MOST = 224, 4096
"""Height and width in pixels where nothing says it, and those that are believed, at most."""


class HF:
    """Networks for image classification, computed by the library ``transformers`` (extra ``hf``)."""

    name: ClassVar[str] = "hf"

    def recognise(self, tensors: Params) -> Architecture | None:
        """Return None: names and shapes alone do not tell the number of attention heads."""
        return None

    def recognise_folder(self, tensors: Params, beside: Beside) -> Architecture | None:
        """Return the network that ``config.json`` describes, with the checkpoint's classifier.

        None where it describes none of :data:`KINDS`, or there is no classifier.

        Raises:
            UnknownArchitecture: What it describes cannot be the network of these tensors, or the library is missing.
        """
        settings = beside.settings
        if settings.get("model_type") not in KINDS:
            return None
        taught = "distillation_classifier.weight" in tensors or "classifier_distill.linear.weight" in tensors
        make, config = _maker(settings, taught, len(tensors))
        with torch.device("meta"):
            module = make()
        filed = filed_names(module)
        renamed = sum(name in tensors for name in filed.values()) > sum(name in tensors for name in filed)
        ours = {name: own for own, name in filed.items()} if renamed else {}
        found = fit(module, {ours.get(name, name): value for name, value in tensors.items()})
        if found is None:
            return None
        height, width = _size(config, beside)
        architecture = Architecture(
            family=self.name,
            name=f"Hugging Face {settings['model_type']}",
            layout={"config": beside.config, "taught": taught, "fit": found, "renamed": renamed, "most": len(tensors)},
            classes=found.classes,
            shape=(config.num_channels, height, width),
            assumed=(*(() if settings["model_type"] in _FIXED else (IMAGE_SIZE,)), *found.assumed),
        )
        return scored(architecture, _named(module, renamed, found), tensors)

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network on the meta device; constants are real where the tensors have borne out their sizes."""
        layout = architecture.layout
        make, _ = _maker(Beside(layout["config"]).settings, layout["taught"], layout["most"])
        if architecture.score < 1:
            with torch.device("meta"):
                module = make()
        else:
            module = weightless(make)
        apply(module, layout["fit"])
        return _named(module, layout["renamed"], layout["fit"])


def _named(module: nn.Module, renamed: bool, found: Fit) -> Smooth:
    """Return the network with the names that its tensors have in a folder."""
    filed = filed_names(module) if renamed else {}
    heads = tuple(swap.path for swap in found.swaps)
    return Smooth(module, {name: other for name, other in filed.items() if not name.startswith(heads)})


def filed_names(module: Any) -> dict[str, str]:
    """Return the library's names for tensors in files by those in its network: from version 5 on they differ.

    A tensor that it saves in parts is left out.
    """
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:
        return {}
    state = module.state_dict()
    own = {id(value): name for name, value in state.items()}
    saved = revert_weight_conversion(module, state)
    return {own[id(value)]: name for name, value in saved.items() if id(value) in own}


def _maker(settings: Mapping[str, object], taught: bool, most: int) -> tuple[Callable[[], nn.Module], Any]:
    """Return what builds the library's network, and its configuration; nothing of the folder is run.

    Args:
        settings: What ``config.json`` holds.
        taught: Whether the checkpoint has a second classifier, for a teacher.
        most: Layers, at most: each has a tensor.

    Raises:
        UnknownArchitecture: The library is missing, or the sizes are absurd.
    """
    try:
        from transformers import AutoConfig, AutoModelForImageClassification
    except ImportError:
        raise UnknownArchitecture(
            "config.json describes an image model, which needs the library transformers.",
            "Run pip install '.[hf]' in a checkout of memaudit.",
        ) from None
    kept = {name: value for name, value in settings.items() if name not in _IGNORED}
    kind = str(kept.pop("model_type"))
    config = AutoConfig.for_model(kind, **{**kept, "num_labels": MARK})
    for name, value in config.to_dict().items():
        if _COUNTS.search(name) and total(value) > most:
            raise UnknownArchitecture(f"{name} is {str(value)[:20]} in config.json, which these tensors cannot have.")
    if kind in _TWO_HEADS:
        config.architectures = [_TWO_HEADS[kind] + "WithTeacher" * taught]
    config._attn_implementation = "eager"  # the others have no second derivative
    make: Any = AutoModelForImageClassification.from_config
    return lambda: make(config, attn_implementation="eager").eval(), config


def total(value: object) -> float:
    """Return the sum of all numbers in a setting, whatever their sign."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return sum(total(part) for part in value)
    return abs(value) if isinstance(value, int | float) else 0


def _size(config: Any, beside: Beside) -> tuple[int, int]:
    """Return height and width of the images in pixels: where weights do not fix them, as the image processor's are."""
    said, where = getattr(config, "image_size", None) or _USUAL, "image_size is {} in config.json"
    if config.model_type.startswith("dinov2"):
        said = _USUAL  # its position embedding is made larger or smaller as needed
    prepared = _processed(beside.preparation or {})
    if config.model_type not in _FIXED and prepared is not None:
        said, where = prepared, f"images are made {{}} in {PREPROCESSOR}"
    sides = said if isinstance(said, list | tuple) else (said, said)
    if len(sides) != 2 or not all(type(side) is int and 0 < side <= _MOST for side in sides):
        raise UnknownArchitecture(f"{where.format(str(said)[:20])}, which no image has.")
    return int(sides[0]), int(sides[1])


def _processed(settings: Mapping[str, object]) -> object:
    """Return the size that an image processor gives images, as its settings write it; None for nothing."""
    size = settings.get("crop_size" if settings.get("do_center_crop") is True else "size")
    if not isinstance(size, Mapping):
        return size
    sides = (size.get("height"), size.get("width"))
    return size.get("shortest_edge") if sides == (None, None) else sides
