"""Residual networks of torchvision, of the common CIFAR implementations, and of strangers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from memaudit.audit.checkpoints.pair import read
from memaudit.audit.families.base import UnknownArchitecture, fitted
from memaudit.audit.families.detect import detect
from memaudit.audit.families.resnet import ResNet

DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"


def torchvision(name: str, cifar: bool = False, **options: int) -> nn.Module:
    from torchvision import models

    module: nn.Module = models.get_model(name, weights=None, num_classes=10, **options)
    if cifar:
        module.conv1, module.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return module


class CifarBlock(nn.Module):
    """A block as the CIFAR implementations write it; ``option`` is A (padding) or B (projection)."""

    def __init__(self, inside: int, planes: int, stride: int, option: str, expansion: int) -> None:
        super().__init__()
        outside, kernels = planes * expansion, (3, 3) if expansion == 1 else (1, 3, 1)
        widths = [inside, *[planes] * (len(kernels) - 1), outside]
        strided = 0 if expansion == 1 else 1
        self.depth, self.stride, self.planes = len(kernels), stride, planes
        for i, kernel in enumerate(kernels):
            step = stride if i == strided else 1
            conv = nn.Conv2d(widths[i], widths[i + 1], kernel, step, kernel // 2, bias=False)
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.shortcut, self.pad = nn.Sequential(), False
        if stride != 1 or inside != outside:
            self.pad = option == "A"
            if not self.pad:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
                )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = functional.relu(y) if i < self.depth else y
        short = self.shortcut(x)
        if self.pad:
            short = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.planes // 4, self.planes // 4))
        return functional.relu(y + short)


class CifarNet(nn.Module):
    def __init__(self, widths: tuple[int, ...], blocks: int, option: str = "B", expansion: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0])
        inside, self.depth = widths[0], len(widths)
        for i, planes in enumerate(widths):
            stage = []
            for j in range(blocks):
                stage.append(CifarBlock(inside, planes, 2 if i and not j else 1, option, expansion))
                inside = planes * expansion
            self.add_module(f"layer{i + 1}", nn.Sequential(*stage))
        self.linear = nn.Linear(inside, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        for i in range(self.depth):
            x = getattr(self, f"layer{i + 1}")(x)
        logits: Tensor = self.linear(functional.avg_pool2d(x, x.shape[-1]).flatten(1))
        return logits


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "resnet18": (lambda: torchvision("resnet18"), "ResNet-18, ImageNet stem"),
    "resnet34": (lambda: torchvision("resnet34"), "ResNet-34, ImageNet stem"),
    "resnet50": (lambda: torchvision("resnet50"), "ResNet-50, ImageNet stem"),
    "resnet18-cifar": (lambda: torchvision("resnet18", cifar=True), "ResNet-18, CIFAR stem"),
    "wide-cifar": (lambda: torchvision("resnet50", True, width_per_group=96), "ResNet-50, CIFAR stem, width 96"),
    "grouped": (
        lambda: torchvision("resnet50", groups=4, width_per_group=8),
        "ResNet-50, ImageNet stem, width 32, 4 groups",
    ),
    "kuangliu": (lambda: CifarNet((8, 16, 24, 32), 2), "ResNet-18, CIFAR stem, width 8"),
    "kuangliu-bottleneck": (lambda: CifarNet((4, 8, 16, 32), 3, expansion=4), "ResNet-38, CIFAR stem, width 4"),
    "option-a": (lambda: CifarNet((16, 32, 64), 3, "A"), "ResNet-20, CIFAR stem, width 16"),
    "option-a-deep": (lambda: CifarNet((16, 32, 64), 5, "A"), "ResNet-32, CIFAR stem, width 16"),
}


def shaken(module: nn.Module) -> nn.Module:
    """Give batch norm statistics and factors that tell a misplaced layer from a right one."""
    for value in module.state_dict().values():
        if value.is_floating_point() and value.ndim == 1:
            value.uniform_(0.5, 1.5)
    return module.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_same_logits(name: str) -> None:
    torch.manual_seed(0)
    factory, title = NETWORKS[name]
    original = shaken(factory())
    state = original.state_dict()
    architecture, module = detect(state)
    assert (architecture.family, architecture.name, architecture.score) == ("resnet", title, 1)
    assert architecture.classes == 10
    assert architecture.shape == ((3, 64, 64) if "ImageNet" in title else (3, 32, 32))
    assert module.state_dict().keys() == state.keys()
    assert all(value.is_meta for value in module.parameters())
    x = torch.randn(2, *architecture.shape)
    with torch.no_grad():
        torch.testing.assert_close(functional_call(module, state, (x,)), original(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrapped_modules(tmp_path: Path, wrap: Callable[[nn.Module], nn.Module]) -> None:
    original = CifarNet((4, 8), 1)
    torch.save({"net": wrap(original).state_dict(), "epoch": 1}, tmp_path / "a.pt")
    architecture, module = detect(read(tmp_path / "a.pt").tensors)
    assert architecture.score == 1
    assert module.state_dict().keys() == original.state_dict().keys()


def grouped(network: nn.Module, groups: int = 32) -> nn.Module:
    """Replace every batch norm by group norm, as Opacus's ModuleValidator.fix does."""
    for path, part in list(network.named_modules()):
        if isinstance(part, nn.BatchNorm2d):
            place, _, leaf = path.rpartition(".")
            norm = nn.GroupNorm(min(groups, part.num_features), part.num_features)
            network.get_submodule(place).add_module(leaf, norm)
    return network


def timms(name: str) -> nn.Module:
    timm = pytest.importorskip("timm")
    module: nn.Module = timm.create_model(name, pretrained=False, num_classes=10)
    return module


def torchvisions_own() -> nn.Module:
    from torchvision import models

    return models.resnet18(num_classes=10, norm_layer=lambda channels: nn.GroupNorm(32, channels))


@pytest.mark.parametrize(
    ("factory", "title"),
    [
        (lambda: timms("resnet50_gn"), "ResNet-50, ImageNet stem, group norm"),
        (torchvisions_own, "ResNet-18, ImageNet stem, group norm"),
        (lambda: grouped(CifarNet((8, 32, 64), 2)), "ResNet-14, CIFAR stem, width 8, group norm"),
        (lambda: grouped(CifarNet((16, 32, 64), 3, "A")), "ResNet-20, CIFAR stem, width 16, group norm"),
    ],
)
def test_group_norm_is_told_by_the_lack_of_statistics(factory: Callable[[], nn.Module], title: str) -> None:
    torch.manual_seed(0)
    original = shaken(factory())
    state = original.state_dict()
    architecture, module = detect(state)
    assert (architecture.family, architecture.name, architecture.score) == ("resnet", title, 1)
    assert architecture.assumed == ("image_size", "norm_groups")
    x = torch.randn(2, *architecture.shape)
    with torch.no_grad():
        torch.testing.assert_close(functional_call(module, state, (x,)), original(x), rtol=1e-4, atol=1e-4)


def test_groups_that_do_not_divide_the_channels_are_not_guessed() -> None:
    with pytest.raises(UnknownArchitecture) as caught:
        detect(grouped(CifarNet((16, 48), 1), 8).state_dict())
    assert "no running statistics" in caught.value.hint
    assert "48 channels" in caught.value.hint
    assert "--model" in caught.value.hint


def test_some_statistics_are_no_group_norm() -> None:
    state = grouped(CifarNet((32, 64), 1)).state_dict() | {"bn1.running_mean": torch.zeros(32)}
    with pytest.raises(UnknownArchitecture, match="running_var"):
        detect(state)


def test_what_cannot_be_read_is_assumed() -> None:
    assert detect(torchvision("resnet18").state_dict())[0].assumed == ("image_size",)
    assert detect(torchvision("resnet18", cifar=True).state_dict())[0].assumed == ("image_size", "stem_pooling")
    assert detect(CifarNet((4, 8), 1).state_dict())[0].assumed == ("image_size",)
    known, _ = detect(CifarNet((4, 8), 1).state_dict(), image_size=48)
    assert (known.shape, known.assumed) == ((3, 48, 48), ())


def test_grey_images() -> None:
    network = CifarNet((4, 8), 1)
    network.conv1 = nn.Conv2d(1, 4, 3, 1, 1, bias=False)
    assert detect(network.state_dict())[0].shape == (1, 32, 32)


def test_a_near_miss_names_what_does_not_fit() -> None:
    state = CifarNet((4, 8), 1).state_dict() | {"layer1.0.se.weight": torch.ones(4)}
    del state["bn1.weight"]
    with pytest.raises(UnknownArchitecture) as caught:
        detect(state)
    for part in ("resnet", "'layer1.0.se.weight' is not part", "'bn1.weight' is missing", "%"):
        assert part in caught.value.message
    assert "--model" in caught.value.hint
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("conv1.weight", (4, 0, 3, 3)),
        ("conv1.weight", (4,)),
        ("conv1.weight", (4, 3, 5, 5)),
        ("layer1.0.conv1.weight", (4, 0, 3, 3)),
        ("layer1.0.conv1.weight", (4, 4)),
        ("layer1.0.conv2.weight", (5, 3, 3, 3)),
        ("layer2.0.shortcut.0.weight", (1,)),
        ("linear.weight", (10,)),
        ("linear.weight", ()),
        ("linear.weight", (0, 8)),
    ],
)
def test_absurd_shapes_fit_nothing(name: str, shape: tuple[int, ...]) -> None:
    state = CifarNet((4, 8), 1).state_dict() | {name: torch.zeros(shape)}
    with pytest.raises(UnknownArchitecture):
        detect(state)
    found = ResNet().recognise(state)
    assert found is None or found.score < 1


@pytest.mark.skipif(not DATA.exists(), reason="the data packs of ../shared/data are absent")
@pytest.mark.parametrize(
    ("file", "mean", "std", "accuracy"),
    [
        ("resnet20-12fca82f.th", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.92),
        ("resnet20-12fca82f.safetensors", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.92),
        ("resnet18-cifarstem-fp16.safetensors", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), 0.73),
    ],
)
def test_real_checkpoints_still_classify(file: str, mean: list[float], std: list[float], accuracy: float) -> None:
    pack = np.load(DATA / "cifar10-test.npz")
    images = torch.from_numpy(pack["images"][:200]).permute(0, 3, 1, 2) / 255
    x = (images - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    tensors = read(DATA / "weights" / file).tensors
    architecture, module = detect(tensors)
    with torch.no_grad():
        guesses = functional_call(module, fitted(tensors, module), (x,)).argmax(1)
    assert architecture.score == 1
    right = (guesses == torch.from_numpy(pack["labels"][:200])).float().mean().item()
    assert right == pytest.approx(accuracy, abs=0.03)


@pytest.mark.parametrize(
    "head", [nn.Sequential(nn.Dropout(), nn.Linear(512, 4)), nn.Sequential(nn.Linear(512, 4, False))]
)
def test_a_head_in_a_sequence(head: nn.Module) -> None:
    network = torchvision("resnet18")
    network.fc = head
    architecture, module = detect(network.state_dict())
    assert (architecture.name, architecture.classes, architecture.score) == ("ResNet-18, ImageNet stem", 4, 1)
    module = module.to_empty(device="cpu")
    module.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(module.eval()(images), network.eval()(images))


def test_a_head_of_two_layers_is_another_network() -> None:
    network = torchvision("resnet18")
    network.fc = nn.Sequential(nn.Linear(512, 8), nn.ReLU(), nn.Linear(8, 4))
    with pytest.raises(UnknownArchitecture):
        detect(network.state_dict())
