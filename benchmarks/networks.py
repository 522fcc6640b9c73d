"""The networks of the benchmark victims; also what ``--model benchmarks/networks.py:FUNCTION`` names."""

import torch
import torchvision
from torch import nn


def mlp() -> nn.Module:
    """The paper's MLP: d-1000-1000-10 on 3 x 32 x 32 images."""
    layers = (nn.Linear(3072, 1000), nn.ReLU(), nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def mlp_binary() -> nn.Module:
    """The paper's binary MLP: d-1000-1000-1, one logit."""
    network = mlp()
    network[-1] = nn.Linear(1000, 1)
    return network


def shallow(width: int) -> nn.Module:
    """One hidden layer, d-width-10 on 3 x 32 x 32 images: the "2-layer MLP" of the paper's Table 1."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, width), nn.ReLU(), nn.Linear(width, 10))


def conv() -> nn.Module:
    """A strided conv net, 32-64-128 channels, 0.2 M parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, 2, 2), nn.ReLU(), nn.Conv2d(32, 64, 5, 2, 2), nn.ReLU(),
        nn.Conv2d(64, 128, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128 * 8 * 8, 10),
    )  # fmt: skip


def conv_wide() -> nn.Module:
    """A strided conv net, 64-128-256 channels, and two linear layers, 1.4 M parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, 128, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(128, 256, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 256), nn.ReLU(), nn.Linear(256, 10),
    )  # fmt: skip


def conv_bn() -> nn.Module:
    """``conv`` with batch norm after every convolution, as it is usually trained."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, 2, 2), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 5, 2, 2), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 128, 3, 1, 1), nn.BatchNorm2d(128), nn.ReLU(), nn.Flatten(), nn.Linear(128 * 8 * 8, 10),
    )  # fmt: skip


def mlp_grey() -> nn.Module:
    """One hidden layer, 784-500-10, on 1 x 28 x 28 images."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 10))


def conv_grey() -> nn.Module:
    """A strided conv net on 1 x 28 x 28 images, 16-32 channels, 30 k parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
    )  # fmt: skip


def conv_grey_unbiased() -> nn.Module:
    """``conv_grey`` whose classifier has no bias."""
    network = conv_grey()
    network[-1] = nn.Linear(32 * 7 * 7, 10, bias=False)
    return network


def resnet18() -> nn.Module:
    """ResNet-18 with a CIFAR stem and PyTorch's default initialisation of convolutions."""
    network = torchvision.models.resnet18(num_classes=10)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    return network


def fresh_head(network: nn.Module, name: str) -> nn.Module:
    """Draw a new classifier, as fine-tuning does."""
    head = network.get_submodule(name)
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.reset_parameters()
    return network


def lenet() -> nn.Module:
    """The network of DLG (Zhu et al., 2019): sigmoids, strides for pooling, all parameters uniform in -0.5 to 0.5."""
    network = nn.Sequential(
        nn.Conv2d(3, 12, 5, 2, 2), nn.Sigmoid(), nn.Conv2d(12, 12, 5, 2, 2), nn.Sigmoid(),
        nn.Conv2d(12, 12, 5, 1, 2), nn.Sigmoid(), nn.Flatten(), nn.Linear(768, 10),
    )  # fmt: skip
    for parameter in network.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    return network


def convnet(width: int = 16, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    """The eight-layer ConvNet of Geiping et al. (2020), a quarter as wide: batch norm, ReLU, two poolings."""
    widths = [width * factor for factor in (1, 2, 2, 4, 4, 4, 4, 4)]
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(zip([3, *widths], widths, strict=False)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), activation()]
        layers += [nn.MaxPool2d(3)] if number in (5, 7) else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(9 * widths[-1], 10))


def convnet_sigmoid() -> nn.Module:
    """``convnet`` with sigmoids, as Zhang et al. (2023) replace the activations of their victims."""
    return convnet(activation=nn.Sigmoid)
