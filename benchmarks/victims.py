"""Victims trained by plain torch.optim.SGD, never through memaudit's own simulator, saved before and after.

``python -m benchmarks.victims NAME FOLDER`` writes ``before.pt``, ``after.safetensors`` (and their twins in the other
format) and ``private.npz``, ``control.npz`` into FOLDER. Images: CIFAR-10 test, the first n and the next ones.
"""

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from memaudit.attacks.simulation.losses import training_loss
from memaudit.audit.checkpoints.pair import read
from memaudit.audit.families.detect import detect

from . import networks

SHARED = Path(os.environ.get("MEMAUDIT_DATA_PACK", Path(__file__).resolve().parents[2] / "shared" / "data"))
"""The data pack."""
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


VEHICLES = (0, 1, 8, 9)
"""CIFAR-10 classes that are class 1 of the binary victims; the animals are class 0."""


def pretrained(name: str) -> nn.Module:
    """A pretrained CIFAR-10 network of the data pack with a fresh head."""
    tensors = {key: value.float() if value.is_floating_point() else value for key, value in weights(name).items()}
    _, meta = detect(tensors)
    network = meta.to_empty(device="cpu")
    network.load_state_dict(tensors, strict=False)
    return networks.fresh_head(network, "linear")


def weights(name: str) -> dict[str, Tensor]:
    """The tensors of one file of the data pack."""
    return dict(read(SHARED / "weights" / name).tensors)


def resnet20() -> nn.Module:
    """The narrow ResNet-20 of a third party, 0.27 M parameters."""
    return pretrained("resnet20-12fca82f.th")


def resnet18_pretrained() -> nn.Module:
    """ResNet-18 with a CIFAR stem, 11.2 M parameters."""
    return pretrained("resnet18-cifarstem-fp16.safetensors")


@dataclasses.dataclass(frozen=True)
class VictimSpec:
    """How one victim is trained: SGD or AdamW; full batch or batches shuffled every epoch; perhaps flips and shifts."""

    build: Callable[[], nn.Module]
    size: int
    epochs: int
    lr: float = 0.01
    batch_size: int | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    binary: bool = False
    scale: tuple[tuple[float, ...], tuple[float, ...]] = CIFAR
    normalise: str = "cifar10"
    adamw: bool = False
    batch_norm: str = "eval"
    augmented: bool = False


VICTIMS = {
    "mlp": VictimSpec(networks.mlp, 10, 20),
    "conv": VictimSpec(networks.conv, 10, 20),
    "resnet18": VictimSpec(networks.resnet18, 2, 4),
    "resnet20": VictimSpec(resnet20, 2, 4, scale=IMAGENET, normalise="imagenet"),
    "binary-20": VictimSpec(networks.mlp_binary, 20, 20, binary=True),
    "mlp-100": VictimSpec(networks.mlp, 100, 20),
    "mlp-100-batches": VictimSpec(networks.mlp, 100, 20, batch_size=20),
    "mlp-100-momentum": VictimSpec(networks.mlp, 100, 20, momentum=0.9, weight_decay=5e-4),
    "mlp-500": VictimSpec(networks.mlp, 500, 20),
    "conv-20": VictimSpec(networks.conv, 20, 20),
    "conv-4-augmented": VictimSpec(networks.conv, 4, 20, augmented=True),
    "wide-20": VictimSpec(networks.conv_wide, 20, 20, lr=0.05),
    "resnet18-8": VictimSpec(networks.resnet18, 8, 4, batch_size=4),
    "resnet18-pretrained": VictimSpec(resnet18_pretrained, 2, 4),
    "resnet18-20": VictimSpec(resnet18_pretrained, 20, 20, batch_size=20),
}


def train(
    spec: VictimSpec, images: Tensor, labels: Tensor, seed: int, device: str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the state dicts before and after training on pixels ``images`` (n, 3, h, w) in [0, 1], on the CPU."""
    torch.manual_seed(seed)
    network = spec.build().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network = network.to(device)
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in spec.scale)
    x, labels = ((images - mean) / std).to(device), labels.to(device)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=spec.lr, momentum=spec.momentum, weight_decay=spec.weight_decay
    )
    if spec.adamw:
        optimizer = torch.optim.AdamW(network.parameters(), lr=spec.lr, weight_decay=spec.weight_decay)
    network.train(spec.batch_norm == "train")
    for _ in range(spec.epochs):
        full = spec.batch_size is None
        for rows in [torch.arange(len(x))] if full else torch.randperm(len(x)).split(spec.batch_size or len(x)):
            optimizer.zero_grad()
            batch = augmented(x[rows]) if spec.augmented else x[rows]
            training_loss(network(batch), labels[rows]).backward()
            optimizer.step()
    return before, {name: value.cpu().clone() for name, value in network.state_dict().items()}


def augmented(x: Tensor) -> Tensor:
    """Return normalised images, each flipped or not, shifted by up to four pixels, what enters being zero."""
    padded = torch.nn.functional.pad(x, (4, 4, 4, 4))
    views = []
    for image in padded:
        top, left, flip = (int(torch.randint(most, ())) for most in (9, 9, 2))
        view = image[:, top : top + x.shape[2], left : left + x.shape[3]]
        views.append(view.flip(2) if flip else view)
    return torch.stack(views)


def make(name: str, folder: Path, seed: int = 0) -> VictimSpec:
    """Train the victim ``name`` and write its files into ``folder``."""
    spec = VICTIMS[name]
    folder.mkdir(parents=True, exist_ok=True)
    pack = np.load(SHARED / "cifar10-test.npz")
    pixels, labels, names = pack["images"], pack["labels"], pack["names"]
    if spec.binary:
        labels, names = np.isin(labels, VEHICLES).astype(np.int64), np.array(["animal", "vehicle"])
    n = spec.size
    most = min(10 * n, len(pixels) - n)
    np.savez(folder / "private.npz", images=pixels[:n], labels=labels[:n], names=names)
    np.savez(folder / "control.npz", images=pixels[n : n + most], labels=labels[n : n + most], names=names)
    images = torch.from_numpy(pixels[:n]).permute(0, 3, 1, 2).float() / 255
    for side, state in zip(("before", "after"), train(spec, images, torch.from_numpy(labels[:n]), seed), strict=True):
        torch.save(state, folder / f"{side}.pt")
        save_file(state, folder / f"{side}.safetensors")
    return spec


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
