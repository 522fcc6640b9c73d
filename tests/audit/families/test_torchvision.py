"""Every kind of network that torchvision builds, as people fine-tune it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torchvision import models

from memaudit.attacks.images.medium import Images
from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.families.base import UnknownArchitecture, fitted
from memaudit.audit.families.detect import detect
from memaudit.audit.families.victim import victim

PLAIN = {name: {"init_weights": False, "transform_input": True} for name in ("googlenet", "inception_v3")}
"""As pretrained networks are."""

KINDS = [
    "densenet121", "convnext_tiny", "efficientnet_b0", "efficientnet_v2_s", "mobilenet_v2", "mobilenet_v3_small",
    "swin_t", "swin_v2_t", "regnet_x_400mf", "regnet_y_400mf", "shufflenet_v2_x0_5", "squeezenet1_0", "squeezenet1_1",
    "mnasnet0_5", "alexnet", "googlenet", "inception_v3",
]  # fmt: skip


def made(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = models.get_model(name, weights=None, **PLAIN.get(name, {}), **options)
    return module.eval()


def small_vit(classes: int = 10, **options: int) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 4, "hidden_dim": 32, "mlp_dim": 48}
    module = models.VisionTransformer(**{**sizes, **options}, num_classes=classes)
    nn.init.normal_(module.heads[-1].weight)
    return module.eval()


def recognised(module: nn.Module, size: int, classes: int = 5, channels: int = 3) -> object:
    """Detect a network, and check that what is rebuilt computes the same."""
    tensors = module.state_dict()
    architecture, rebuilt = detect(tensors)
    assert (architecture.family, architecture.score, architecture.classes) == ("torchvision", 1, classes)
    assert architecture.shape[0] == channels
    assert all(value.is_meta for value in rebuilt.state_dict().values())
    x = torch.randn(2, channels, size, size)
    with torch.no_grad():
        assert torch.allclose(functional_call(rebuilt, fitted(tensors, rebuilt), (x,)), module(x), atol=1e-4)
    return architecture


@pytest.mark.parametrize("name", KINDS)
def test_what_is_rebuilt_computes_the_same(name: str) -> None:
    architecture = recognised(made(name, num_classes=5), 96)
    assert architecture.name == f"torchvision {name}"
    assert architecture.assumed == ("image_size", *(["transform_input"] if name in PLAIN else []))


@pytest.mark.parametrize(("name", "first"), [("googlenet", "conv1"), ("inception_v3", "Conv2d_1a_3x3")])
def test_what_is_turned_back_is_said_and_never_of_grey_images(name: str, first: str) -> None:
    module = made(name, num_classes=5)
    assert detect(module.state_dict(), f"torchvision:{name}")[0].assumed == ("image_size", "transform_input")
    conv = module.get_submodule(first).conv
    module.get_submodule(first).conv = nn.Conv2d(
        1, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False
    )
    module.transform_input = False
    assert recognised(module, 96, channels=1).assumed == ("image_size",)


def test_one_channel_and_many_outputs() -> None:
    module = made("densenet121", num_classes=14)
    module.features.conv0 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    assert recognised(module, 64, 14, channels=1).shape == (1, 224, 224)


def replaced(name: str, path: str, head: nn.Module) -> nn.Module:
    module = made(name)
    parent, _, leaf = path.rpartition(".")
    module.get_submodule(parent).add_module(leaf, head)
    return module.eval()


HEADS: list[tuple[str, str, Callable[[], nn.Module], bool]] = [
    ("mobilenet_v3_small", "classifier", lambda: nn.Linear(576, 5), False),
    ("mobilenet_v3_small", "classifier.3", lambda: nn.Linear(1024, 5, bias=False), False),
    ("mobilenet_v3_small", "classifier.3", lambda: nn.Sequential(nn.Dropout(), nn.Linear(1024, 5)), False),
    ("densenet121", "classifier", lambda: nn.Sequential(nn.Linear(1024, 9), nn.ReLU(), nn.Linear(9, 5)), True),
    ("squeezenet1_1", "classifier.1", lambda: nn.Conv2d(512, 5, 1), False),
    ("convnext_tiny", "classifier.2", lambda: nn.Linear(768, 5), False),
]


@pytest.mark.parametrize(("name", "path", "head", "guessed"), HEADS)
def test_heads_that_users_replace(name: str, path: str, head: Callable[[], nn.Module], guessed: bool) -> None:
    assert ("head_activation" in recognised(replaced(name, path, head()), 64).assumed) == guessed


def test_an_auxiliary_head_may_keep_its_classes() -> None:
    module = made("inception_v3")
    module.fc = nn.Linear(2048, 5)
    recognised(module, 128)
    module.AuxLogits = None
    recognised(module, 128)


def test_a_vision_transformer_of_any_size() -> None:
    architecture = recognised(small_vit(), 32, 10)
    assert architecture.name == "torchvision ViT, 2 layers x 32, patches of 8, 4 heads"
    assert architecture.shape == (3, 32, 32)
    assert architecture.assumed == ("attention_heads",)


def test_a_published_vision_transformer() -> None:
    module = made("vit_b_16", image_size=96)
    module.heads = nn.Linear(768, 5)
    architecture = recognised(module, 96)
    assert (architecture.name, architecture.shape, architecture.assumed) == ("torchvision ViT-B/16", (3, 96, 96), ())


@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v3_small", "swin_t", "vit"])
def test_second_derivatives(name: str) -> None:
    module = small_vit(5) if name == "vit" else made(name, num_classes=5)
    tensors = module.state_dict()
    _, rebuilt = detect(tensors)
    names = [key for key, _ in rebuilt.named_parameters()]
    state = fitted(tensors, rebuilt)
    weights = {key: state[key].clone().requires_grad_() for key in names}
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    loss = functional_call(rebuilt, {**state, **weights}, (x,)).logsumexp(1).sum()
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
    (bend,) = torch.autograd.grad(sum(slope.square().sum() for slope in slopes if slope is not None), x)
    assert bend.abs().sum() > 0


def test_by_name() -> None:
    module = small_vit()
    with pytest.raises(UnknownArchitecture, match="does not fit torchvision:vit_b_16"):
        detect(module.state_dict(), "torchvision:vit_b_16")
    module = replaced("mobilenet_v3_small", "classifier.3", nn.Sequential(nn.Dropout(), nn.Linear(1024, 5)))
    architecture, rebuilt = detect(module.state_dict(), "torchvision:mobilenet_v3_small")
    assert architecture.classes == 5
    assert architecture.assumed == ("image_size",)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(rebuilt(x), module(x), atol=1e-5)


def test_what_is_assumed_of_a_head_is_said_where_the_network_is_named() -> None:
    module = replaced("densenet121", "classifier", nn.Sequential(nn.Linear(1024, 9), nn.ReLU(), nn.Linear(9, 5)))
    assert "head_activation" in detect(module.state_dict(), "torchvision:densenet121")[0].assumed


def as_monai_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of MONAI's DenseNet, which is torchvision's with a sequence in each layer and another classifier."""
    named = {re.sub(r"(denselayer\d+)\.", r"\1.layers.", name): value for name, value in tensors.items()}
    return {re.sub("^classifier", "class_layers.out", name): value for name, value in named.items()}


@pytest.mark.parametrize("spec", ["auto", "torchvision:densenet121"])
def test_names_with_more_parts_on_the_way_and_another_classifier(spec: str, tmp_path: Path) -> None:
    module = made("densenet121", num_classes=14)
    module.features.conv0 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    tensors = as_monai_names(module.state_dict())
    architecture, rebuilt = detect(tensors, spec)
    assert (architecture.classes, architecture.shape, architecture.score) == (14, (1, 224, 224), 1)
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(functional_call(rebuilt, fitted(tensors, rebuilt), (x,)), module(x))
    torch.save(tensors, tmp_path / "before.pt")
    torch.save({**tensors, "class_layers.out.bias": torch.ones(14)}, tmp_path / "after.pt")
    pair = read_pair(tmp_path / "before.pt", tmp_path / "after.pt")
    architecture, rebuilt = detect(pair.after.tensors, spec, 64)
    assert victim(pair, architecture, rebuilt, Images()).theta0.keys() == {"net.classifier.bias"}


@pytest.mark.parametrize(
    "extra",
    [
        {"class_layers.more.weight": torch.ones(3, 14)},
        {"features.conv0.layers.weight": torch.ones(64, 3, 7, 7)},
        {"features.other.weight": torch.ones(3)},
    ],
)
def test_names_that_leave_something_over_are_another_network(extra: dict[str, Tensor]) -> None:
    with pytest.raises(UnknownArchitecture):
        detect({**as_monai_names(made("densenet121", num_classes=3).state_dict()), **extra})


def misread(change: Callable[[dict[str, Tensor]], object]) -> str:
    tensors = dict(made("densenet121", num_classes=5).state_dict())
    change(tensors)
    with pytest.raises(UnknownArchitecture) as refusal:
        detect(tensors)
    return str(refusal.value)


def test_the_nearest_is_named_with_what_differs() -> None:
    said = misread(lambda tensors: tensors.update({"features.norm5.weight": torch.ones(3)}))
    assert "torchvision densenet121" in said
    assert "'features.norm5.weight' is (3,) in the checkpoint and (1024,) in the network" in said


def test_without_a_classifier() -> None:
    misread(lambda tensors: [tensors.pop(name) for name in ("classifier.weight", "classifier.bias")])


def test_hostile_sizes() -> None:
    tensors = dict(small_vit().state_dict())
    for name, value in (
        ("encoder.pos_embedding", torch.empty(1, 0, 32)),
        ("conv_proj.weight", torch.empty(0, 3, 8, 8)),
        ("encoder.pos_embedding", torch.empty(1, 10**15, 32, device="meta")),
    ):
        with pytest.raises(UnknownArchitecture):
            detect({**tensors, name: value})
