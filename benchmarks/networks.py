"""The networks of the benchmark victims; also what ``--model benchmarks/networks.py:FUNCTION`` names."""

import torch
import torchvision
from torch import nn


def mlp() -> nn.Module:
    """The paper's MLP: d-1000-1000-10 on 3 x 32 x 32 images."""
    layers = (nn.Linear(3072, 1000), nn.ReLU(), nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def conv() -> nn.Module:
    """A strided conv net, 32-64-128 channels, 0.2 M parameters."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, 2, 2), nn.ReLU(), nn.Conv2d(32, 64, 5, 2, 2), nn.ReLU(),
        nn.Conv2d(64, 128, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128 * 8 * 8, 10),
    )  # fmt: skip


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
