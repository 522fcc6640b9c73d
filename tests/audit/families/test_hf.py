"""Image classifiers as transformers saves them, and configurations that lie."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call

from memaudit.audit.checkpoints.pair import read
from memaudit.audit.families.base import UnknownArchitecture, fitted
from memaudit.audit.families.beside import Beside, read_beside
from memaudit.audit.families.detect import detect

transformers = pytest.importorskip("transformers")

VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
CONV = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
SWIN = {"embed_dim": 24, "depths": [1, 2], "num_heads": [2, 2], "window_size": 4, "image_size": 32}

KINDS: dict[str, dict[str, Any]] = {
    "vit": VIT, "deit": VIT, "beit": VIT, "vit_msn": VIT, "dinov2": VIT, "convnext": CONV, "convnextv2": CONV,
    "resnet": {**CONV, "embedding_size": 8}, "regnet": {**CONV, "embedding_size": 8, "groups_width": 8},
    "swin": SWIN, "swinv2": SWIN, "mobilenet_v2": {"depth_multiplier": 0.35}, "levit": {},
}  # fmt: skip


def network(kind: str, teacher: bool = False, **settings: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **{**KINDS[kind], "num_labels": 3, **settings})
    if kind in ("deit", "levit"):
        config.architectures = [
            {"deit": "DeiT", "levit": "Levit"}[kind] + "ForImageClassification" + "WithTeacher" * teacher
        ]
    made = transformers.AutoModelForImageClassification.from_config(config).eval()
    for value in made.parameters():
        if value.ndim > 1:
            nn.init.normal_(value, std=0.05)
    return made


def saved(made: Any, folder: Path) -> tuple[dict[str, torch.Tensor], Beside]:
    made.save_pretrained(folder)
    return dict(read(str(folder)).tensors), read_beside(str(folder))


def same(made: Any, tensors: dict[str, torch.Tensor], rebuilt: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(2, *shape)
    with torch.no_grad():
        expected = made(x).logits
        assert (
            functional_call(rebuilt, fitted(tensors, rebuilt), (x,)) - expected
        ).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    made = network(kind)
    tensors, beside = saved(made, tmp_path)
    architecture, rebuilt = detect(tensors, beside=beside)
    assert (architecture.family, architecture.name, architecture.score) == ("hf", f"Hugging Face {kind}", 1)
    assert architecture.classes == 3
    assert ("image_size" in architecture.assumed) == (kind not in ("vit", "deit", "beit", "vit_msn", "levit"))
    assert all(value.is_meta for value in rebuilt.state_dict().values())
    same(made, tensors, rebuilt, architecture.shape)


@pytest.mark.parametrize("kind", ["deit", "levit"])
def test_a_second_classifier_for_a_teacher(kind: str, tmp_path: Path) -> None:
    made = network(kind, teacher=True)
    tensors, beside = saved(made, tmp_path)
    architecture, rebuilt = detect(tensors, beside=beside)
    same(made, tensors, rebuilt, architecture.shape)


def test_a_state_dict_beside_the_configuration(tmp_path: Path) -> None:
    made = network("vit")
    _, beside = saved(made, tmp_path)
    architecture, rebuilt = detect(made.state_dict(), beside=beside)
    same(made, made.state_dict(), rebuilt, architecture.shape)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"size": {"height": 96, "width": 64}}, (96, 64)),
        ({"size": {"shortest_edge": 48}}, (48, 48)),
        ({"size": 40, "crop_size": 24}, (40, 40)),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 56, "width": 56}}, (56, 56)),
        ({"size": {"longest_edge": 800}}, (224, 224)),
        ({}, (224, 224)),
    ],
)
def test_the_image_processor_says_the_size_where_the_weights_do_not(
    settings: dict[str, Any], size: tuple[int, int], tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    tensors, beside = saved(network("convnext"), tmp_path)
    architecture, _ = detect(tensors, beside=beside)
    assert (architecture.shape[1:], architecture.assumed) == (size, ("image_size",))
    assert detect(tensors, beside=beside, image_size=32)[0].shape == (3, 32, 32)
    tensors, beside = saved(network("vit"), tmp_path)
    assert detect(tensors, beside=beside)[0].shape == (3, 32, 32)


@pytest.mark.parametrize(
    "size", [0, -1, 10**9, "224", [224] * 9, {"height": 224}, {"shortest_edge": [1]}, {"height": 1e3, "width": True}]
)
def test_an_image_processor_with_absurd_sizes(size: object, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    tensors, beside = saved(network("convnext"), tmp_path)
    with pytest.raises(UnknownArchitecture) as caught:
        detect(tensors, beside=beside)
    assert "in preprocessor_config.json, which no image has" in str(caught.value)


def test_a_head_of_ones_own(tmp_path: Path) -> None:
    made = network("vit", num_channels=1)
    made.classifier = nn.Sequential(nn.Dropout(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 7))
    tensors, beside = saved(made.eval(), tmp_path)
    architecture, rebuilt = detect(tensors, beside=beside)
    assert (architecture.classes, architecture.shape) == (7, (1, 32, 32))
    assert architecture.assumed == ("head_activation",)
    same(made, tensors, rebuilt, architecture.shape)


@pytest.mark.parametrize("kind", ["vit", "swin", "convnext", "deit"])
def test_second_derivatives(kind: str, tmp_path: Path) -> None:
    tensors, beside = saved(network(kind), tmp_path)
    _, rebuilt = detect(tensors, beside=beside)
    state = fitted(tensors, rebuilt)
    weights = {name: state[name].clone().requires_grad_() for name, _ in rebuilt.named_parameters()}
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    loss = functional_call(rebuilt, {**state, **weights}, (x,)).logsumexp(1).sum()
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
    (bend,) = torch.autograd.grad(sum(slope.square().sum() for slope in slopes if slope is not None), x)
    assert bend.abs().sum() > 0


def changed(kind: str = "vit", **settings: object) -> tuple[Any, dict[str, torch.Tensor], Beside]:
    made = network(kind)
    config = json.loads(made.config.to_json_string(use_diff=False))
    return made, made.state_dict(), Beside(json.dumps({**config, **settings}))


@pytest.mark.parametrize(
    "settings",
    [
        {"auto_map": {"AutoModelForImageClassification": "evil--code.Network"}, "trust_remote_code": True},
        {"return_dict": False, "output_attentions": True},
        {"torchscript": True},
        {"dtype": "banana"},
        {"quantization_config": {"quant_method": "gptq"}},
        {"attn_implementation": "flash_attention_2", "_attn_implementation": "flash_attention_2"},
        {"architectures": ["Evil"], "id2label": {"0": "<script>"}, "num_labels": 10**9, "_name_or_path": "https://x"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_that_change_nothing(settings: dict[str, object]) -> None:
    made, tensors, beside = changed(**settings)
    architecture, rebuilt = detect(tensors, beside=beside)
    same(made, tensors, rebuilt, architecture.shape)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("vit", {"num_hidden_layers": 10**6}),
        ("vit", {"num_hidden_layers": 10**400}),
        ("vit", {"num_hidden_layers": -(10**6)}),
        ("vit", {"num_hidden_layers": "2"}),
        ("vit", {"hidden_size": 10**9}),
        ("vit", {"hidden_size": 10**30}),
        ("vit", {"image_size": 10**9}),
        ("vit", {"patch_size": 0}),
        ("vit", {"num_attention_heads": 0}),
        ("vit", {"num_attention_heads": 10**9}),
        ("vit", {"hidden_act": "evil"}),
        ("vit", {"model_type": "timm_wrapper"}),
        ("vit", {"model_type": ["vit"]}),
        ("convnext", {"depths": [10**9, 1, 1, 1]}),
        ("convnext", {"depths": {"a": 10**9}}),
        ("convnext", {"image_size": 10**9}),
        ("convnext", {"image_size": [32, "x"]}),
        ("convnext", {"num_stages": 10**9}),
        ("swin", {"window_size": 10**6}),
        ("swin", {"depths": [1, 10**9]}),
        ("swin", {"image_size": -1}),
        ("mobilenet_v2", {"depth_multiplier": 10**9}),
    ],
    ids=lambda part: (
        part if isinstance(part, str) else "-".join(str(item)[:12] for pair in part.items() for item in pair)
    ),
)
def test_absurd_settings_are_refused_at_once_in_one_sentence(kind: str, settings: dict[str, object]) -> None:
    _, tensors, beside = changed(kind, **settings)
    began = time.process_time()
    with pytest.raises(UnknownArchitecture) as refusal:
        detect(tensors, beside=beside)
    assert time.process_time() - began < 20
    assert "\n" not in str(refusal.value)


def test_a_refusal_says_why() -> None:
    _, tensors, beside = changed(num_hidden_layers=10**6)
    with pytest.raises(UnknownArchitecture, match="resembles no known model family") as refusal:
        detect(tensors, beside=beside)
    assert "num_hidden_layers is 1000000 in config.json" in refusal.value.hint


def test_without_transformers_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _, tensors, beside = changed()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UnknownArchitecture) as refusal:
        detect(tensors, beside=beside)
    assert "needs the library transformers. Run pip install '.[hf]'" in str(refusal.value)


def test_a_network_without_a_classifier() -> None:
    made, _, beside = changed()
    with pytest.raises(UnknownArchitecture):
        detect(made.vit.state_dict(), beside=beside)
