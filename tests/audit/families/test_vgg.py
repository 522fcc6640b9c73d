"""VGG networks of torchvision and with the single-layer head of the CIFAR implementations."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from memaudit.audit.families.base import UnknownArchitecture
from memaudit.audit.families.detect import detect
from memaudit.audit.families.vgg import VGG


class CifarVGG(nn.Module):
    """kuangliu's: every pooling is followed by an average pooling of one pixel at the very end."""

    def __init__(self, widths: list[int | str], normalised: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inside = 3
        for width in widths:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers.append(nn.Conv2d(inside, width, 3, padding=1))
            layers += [nn.BatchNorm2d(width)] if normalised else []
            layers.append(nn.ReLU())
            inside = width
        self.features = nn.Sequential(*layers, nn.AvgPool2d(1))
        self.classifier = nn.Linear(inside, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


def torchvision(name: str) -> nn.Module:
    from torchvision import models

    module: nn.Module = models.get_model(name, weights=None, num_classes=10, init_weights=False)
    module.classifier = nn.Sequential(  # the original's 4096 features are 100 million weights
        *(nn.Linear(512 * 49, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 16), nn.ReLU(), nn.Dropout()),
        nn.Linear(16, 10),
    )
    return module


SMALL: list[int | str] = [4, "M", 8, "M", 8, 8, "M", 16, "M", 16, 16, "M"]
NETWORKS: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "vgg11": (lambda: torchvision("vgg11"), "VGG-11", 64),
    "vgg11_bn": (lambda: torchvision("vgg11_bn"), "VGG-11 with batch norm", 64),
    "vgg16": (lambda: torchvision("vgg16"), "VGG-16", 64),
    "cifar": (lambda: CifarVGG(SMALL, normalised=False), "VGG-8, CIFAR head", 32),
    "cifar_bn": (lambda: CifarVGG(SMALL, normalised=True), "VGG-8 with batch norm, CIFAR head", 32),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_same_logits(name: str) -> None:
    torch.manual_seed(0)
    factory, title, size = NETWORKS[name]
    original = factory().eval()
    state = original.state_dict()
    architecture, module = detect(state)
    assert (architecture.family, architecture.name, architecture.score) == ("vgg", title, 1)
    assert architecture.shape == (3, size, size)
    assert architecture.assumed == ("image_size",)
    assert architecture.classes == 10
    assert all(value.is_meta for value in module.parameters())
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(functional_call(module, state, (x,)), original(x))


def test_image_size_settles_the_assumption() -> None:
    architecture, _ = detect(CifarVGG(SMALL, normalised=True).state_dict(), image_size=48)
    assert (architecture.shape, architecture.assumed) == ((3, 48, 48), ())


def test_other_kernels_are_no_vgg() -> None:
    network = CifarVGG(SMALL, normalised=False)
    network.features[0] = nn.Conv2d(3, 4, 5, padding=2)
    with pytest.raises(UnknownArchitecture, match=r"'features.0.weight' is \(4, 3, 5, 5\) in the checkpoint"):
        detect(network.state_dict())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("features.0.weight", (4, 0, 3, 3)),
        ("features.0.weight", (0, 3, 3, 3)),
        ("classifier.weight", (10,)),
        ("classifier.weight", (10, 0)),
        ("classifier.999999999.weight", (10, 16)),
        ("features.99.weight", (4, 16, 3, 3)),
    ],
)
def test_absurd_shapes_fit_nothing(name: str, shape: tuple[int, ...]) -> None:
    state = CifarVGG(SMALL, normalised=False).state_dict() | {name: torch.zeros(shape)}
    with pytest.raises(UnknownArchitecture):
        detect(state)
    found = VGG().recognise(state)
    assert found is None or found.score < 1
