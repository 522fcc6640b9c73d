"""Victims trained by plain torch.optim.SGD, never through memaudit's own simulator, saved before and after.

``python -m benchmarks.victims NAME FOLDER`` writes ``before.pt``, ``after.safetensors`` (and their twins in the other
format) and ``private.npz``, ``control.npz`` into FOLDER. Images: CIFAR-10 test, the first n and the next n.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from memaudit.audit.checkpoint import read
from memaudit.audit.families.base import detect

from . import networks

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def resnet20() -> nn.Module:
    """The pretrained CIFAR-10 ResNet-20 of the data pack with a fresh head."""
    tensors = read(SHARED / "weights" / "resnet20-12fca82f.th").tensors
    _, meta = detect(tensors)
    network = meta.to_empty(device="cpu")
    network.load_state_dict(tensors, strict=False)
    return networks.fresh_head(network, "linear")


@dataclasses.dataclass(frozen=True)
class VictimSpec:
    """How one victim is trained: full batch, eval-mode batch norm, plain SGD."""

    build: Callable[[], nn.Module]
    size: int
    epochs: int
    lr: float = 0.01
    scale: tuple[tuple[float, ...], tuple[float, ...]] = CIFAR
    normalise: str = "cifar10"


VICTIMS = {
    "mlp": VictimSpec(networks.mlp, 10, 20),
    "conv": VictimSpec(networks.conv, 10, 20),
    "resnet18": VictimSpec(networks.resnet18, 2, 4),
    "resnet20": VictimSpec(resnet20, 2, 4, scale=IMAGENET, normalise="imagenet"),
}


def train(spec: VictimSpec, images: Tensor, labels: Tensor, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the state dicts before and after training on pixels ``images`` (n, 3, h, w) in [0, 1]."""
    torch.manual_seed(seed)
    network = spec.build().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in spec.scale)
    x = (images - mean) / std
    optimizer = torch.optim.SGD(network.parameters(), lr=spec.lr)
    for _ in range(spec.epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), labels).backward()
        optimizer.step()
    return before, {name: value.clone() for name, value in network.state_dict().items()}


def make(name: str, folder: Path, seed: int = 0) -> VictimSpec:
    """Train the victim ``name`` and write its files into ``folder``."""
    spec = VICTIMS[name]
    folder.mkdir(parents=True, exist_ok=True)
    pack = np.load(SHARED / "cifar10-test.npz")
    pixels, labels, names = pack["images"], pack["labels"], pack["names"]
    n = spec.size
    np.savez(folder / "private.npz", images=pixels[:n], labels=labels[:n], names=names)
    np.savez(folder / "control.npz", images=pixels[n : 11 * n], labels=labels[n : 11 * n], names=names)
    images = torch.from_numpy(pixels[:n]).permute(0, 3, 1, 2).float() / 255
    for side, state in zip(("before", "after"), train(spec, images, torch.from_numpy(labels[:n]), seed), strict=True):
        torch.save(state, folder / f"{side}.pt")
        save_file(state, folder / f"{side}.safetensors")
    return spec


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
