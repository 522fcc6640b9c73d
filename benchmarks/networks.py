"""The networks of the benchmark victims; also what ``--model benchmarks/networks.py:FUNCTION`` names."""

import torch
import torchvision
from torch import nn


def mlp() -> nn.Module:
    """The paper's MLP: d-1000-1000-10 on 3 x 32 x 32 images."""
    layers = (nn.Linear(3072, 1000), nn.ReLU(), nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def shallow(width: int) -> nn.Module:
    """One hidden layer, d-width-10 on 3 x 32 x 32 images: the "2-layer MLP" of the paper's Table 1."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, width), nn.ReLU(), nn.Linear(width, 10))


def conv() -> nn.Module:
    """A strided conv net, 32-64-128 channels, 0.2 M parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, 2, 2), nn.ReLU(), nn.Conv2d(32, 64, 5, 2, 2), nn.ReLU(),
        nn.Conv2d(64, 128, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128 * 8 * 8, 10),
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
