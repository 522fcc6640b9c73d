"""Networks of timm, as its training scripts and its users save them."""

import sys

import pytest
import torch
from torch import nn
from torch.func import functional_call

from memaudit.audit.families.base import UnknownArchitecture, fitted
from memaudit.audit.families.beside import Beside
from memaudit.audit.families.detect import detect
from memaudit.audit.families.timm import Timm

timm = pytest.importorskip("timm")

SIZES = {"vit_tiny_patch16_224": {"img_size": 32, "patch_size": 4}, "deit3_small_patch16_224": {"img_size": 32}}

KINDS = [
    ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 4}, "ViT-Ti/4"),
    ("deit3_small_patch16_224", {"img_size": 32}, "ViT-S/16"),
    ("vit_small_patch14_reg4_dinov2", {"img_size": 56}, "ViT-S/14"),
    ("vit_base_patch16_clip_224", {"img_size": 32}, "ViT-B/16"),
    (
        "vit_tiny_patch16_224",
        {"img_size": 32, "embed_dim": 48, "depth": 2},
        "ViT, 2 layers x 48, patches of 16, 3 heads",
    ),
    ("deit_tiny_distilled_patch16_224", {"img_size": 32}, ""),
    ("beit_base_patch16_224", {}, ""),
    ("swin_tiny_patch4_window7_224", {}, ""),
    ("convnext_atto", {}, ""),
    ("efficientnet_b0", {}, ""),
    ("mobilenetv3_small_050", {}, ""),
    ("resnet26d", {}, ""),
    ("regnetx_002", {}, ""),
]


def made(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, **options).eval()


def same(module: nn.Module, rebuilt: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(2, *shape)
    state = fitted(module.state_dict(), rebuilt)
    with torch.no_grad():
        expected = module(x)
        assert (functional_call(rebuilt, state, (x,)) - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(("name", "options", "title"), KINDS)
def test_what_is_rebuilt_computes_the_same(name: str, options: dict[str, int], title: str) -> None:
    module = made(name, num_classes=5, **options)
    if "embed_dim" in options:
        for block in module.blocks:
            block.attn.num_heads, block.attn.head_dim, block.attn.scale = 4, 12, 12**-0.5
        title = title.replace("3 heads", "4 heads")
    nn.init.normal_(module.get_classifier()[0].weight if "dist" in name else module.get_classifier().weight)
    architecture, rebuilt = detect(module.state_dict())
    assert (architecture.family, architecture.score, architecture.classes) == ("timm", 1, 5)
    assert architecture.name == f"timm {title or name}"
    assert ("timm_variant" in architecture.assumed) == (not title)
    size = options.get("img_size", 224 if name.startswith(("swin", "beit")) else 64)
    assert ("image_size" in architecture.assumed) == ("img_size" not in options and not name.startswith("beit"))
    same(module, rebuilt, (3, size, size))


@pytest.mark.parametrize("name", ["convnext_atto", "mobilenetv3_small_050"])
def test_other_channels_and_a_head_of_ones_own(name: str) -> None:
    module = made(name, num_classes=5, in_chans=1)
    parent, _, leaf = module.default_cfg["classifier"].rpartition(".")
    linear = module.get_classifier()
    module.get_submodule(parent).add_module(leaf, nn.Sequential(nn.Dropout(), nn.Linear(linear.in_features, 7)))
    architecture, rebuilt = detect(module.eval().state_dict())
    assert (architecture.classes, architecture.shape[0]) == (7, 1)
    same(module, rebuilt, (1, 64, 64))


def test_the_configuration_names_one_of_several_with_equal_tensors() -> None:
    module = made("tf_efficientnet_b0", num_classes=5)
    architecture, _ = detect(module.state_dict())
    assert (architecture.name, "timm_variant" in architecture.assumed) == ("timm efficientnet_b0", True)
    beside = Beside('{"architecture": "tf_efficientnet_b0.ns_jft_in1k", "num_classes": 1000000000000}')
    architecture, rebuilt = detect(module.state_dict(), beside=beside)
    assert (architecture.name, "timm_variant" in architecture.assumed) == ("timm tf_efficientnet_b0", False)
    same(module, rebuilt, (3, 64, 64))


@pytest.mark.parametrize("name", ["tf_efficientnet_b0", "tf_efficientnet_b0.ns_jft_in1k"])
def test_by_name(name: str) -> None:
    module = made("tf_efficientnet_b0", num_classes=5, in_chans=1)
    architecture, rebuilt = detect(module.state_dict(), f"timm:{name}", 64)
    assert (architecture.classes, architecture.shape, architecture.assumed) == (5, (1, 64, 64), ())
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.allclose(rebuilt(x), module(x), atol=1e-5)


def test_a_vision_transformer_by_name_has_its_own_image_size() -> None:
    module = made("vit_tiny_patch16_224", num_classes=5, img_size=48)
    architecture, _ = detect(module.state_dict(), "timm:vit_tiny_patch16_224")
    assert architecture.shape == (3, 48, 48)


def test_names_that_do_not_fit() -> None:
    tensors = made("convnext_atto", num_classes=5).state_dict()
    with pytest.raises(UnknownArchitecture, match="does not fit timm:convnext_femto"):
        detect(tensors, "timm:convnext_femto")
    with pytest.raises(UnknownArchitecture, match="timm has no network 'convnext_attto'") as refusal:
        detect(tensors, "timm:convnext_attto")
    assert "convnext_atto" in refusal.value.hint


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_without_timm_the_refusal_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = made(name, num_classes=5).state_dict()
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UnknownArchitecture) as refusal:
        detect(tensors)
    assert "timm is not installed. Run pip install '.[timm]'" in str(refusal.value)
    with pytest.raises(UnknownArchitecture, match="timm is not installed"):
        detect(tensors, f"timm:{name}")


def test_other_networks_do_not_wake_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert Timm().recognise(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).state_dict()) is None
    architecture, _ = detect(nn.Linear(48, 2).state_dict())
    assert architecture.family == "mlp"
