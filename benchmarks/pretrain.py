"""A longer pretraining of the paper's network, where a GPU is at hand: ``python -m benchmarks.pretrain FILE``.

ResNet-18 with a CIFAR stem on ``cifar10-train.npz`` of the data pack: SGD with momentum, one cycle, flips and shifts,
bfloat16 where CUDA is. FILE (safetensors) lies outside the repository, as weights are not committed;
``python -m benchmarks.paper --weights FILE`` fine-tunes it.
"""

import argparse
import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from .networks import resnet18
from .victims import CIFAR, SHARED

ROOT = Path(__file__).resolve().parents[1]
SHIFT = 4


def images(path: Path, device: str, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Return network inputs (n, 3, h, w) and labels of one file of the data pack."""
    pack = np.load(path)
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in CIFAR)
    pixels = torch.from_numpy(pack["images"][:limit]).permute(0, 3, 1, 2).float() / 255
    return ((pixels - mean) / std).to(device), torch.from_numpy(pack["labels"][:limit]).to(device)


def augmented(x: Tensor) -> Tensor:
    """Return images (b, c, h, w) shifted by up to four pixels and flipped, each by a draw of its own."""
    size, rows = x.shape[-1], torch.arange(len(x), device=x.device)
    windows = pad(x, [SHIFT] * 4).unfold(2, size, 1).unfold(3, size, 1)
    down, right = torch.randint(2 * SHIFT + 1, (2, len(x)), device=x.device)
    shifted = windows[rows, :, down, right]
    return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, shifted.flip(3), shifted)


def accuracy(network: nn.Module, x: Tensor, labels: Tensor) -> float:
    """Return the share of images that the network in eval mode classifies rightly."""
    network.eval()
    with torch.no_grad():
        guesses = torch.cat([network(part).argmax(1) for part in x.split(500)])
    return float((guesses == labels).float().mean())


def pretrain(
    network: nn.Module, x: Tensor, labels: Tensor, epochs: int, batch_size: int, lr: float, deadline: float
) -> int:
    """Train ``network`` in place and return the epochs that the time allowed; the last ones may be missing."""
    steps = -(-len(x) // batch_size)
    optimizer = torch.optim.SGD(network.parameters(), lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, epochs=epochs, steps_per_epoch=steps)
    narrow = torch.autocast("cuda", torch.bfloat16) if x.is_cuda else contextlib.nullcontext()
    for epoch in range(epochs):
        if time.monotonic() >= deadline:
            return epoch
        network.train()
        for rows in torch.randperm(len(x)).to(x.device).split(batch_size):
            optimizer.zero_grad()
            with narrow:
                loss = cross_entropy(network(augmented(x[rows])), labels[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {epochs}, loss {float(loss.detach()):.3f}", flush=True)
    return epochs


def main(words: Sequence[str] | None = None) -> None:
    """Pretrain, measure on the test images, and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="where the weights go, outside the repository")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1, help="the highest of the cycle")
    parser.add_argument("--limit", type=int, help="train on this many images, the first ones")
    parser.add_argument("--budget", type=float, default=float("inf"), help="start no epoch after this many seconds")
    parser.add_argument("--data-pack", type=Path, default=Path(os.environ.get("MEMAUDIT_DATA_PACK", SHARED)))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args(words)
    if ROOT in asked.file.resolve().parents:
        parser.error("weights are not committed: choose a FILE outside the repository")
    torch.manual_seed(0)
    began = time.monotonic()
    layout = torch.channels_last if asked.device.startswith("cuda") else torch.contiguous_format
    network = resnet18().to(asked.device, memory_format=layout)
    data = images(asked.data_pack / "cifar10-train.npz", asked.device, asked.limit)
    epochs = pretrain(network, *data, asked.epochs, asked.batch_size, asked.lr, began + asked.budget)
    right = accuracy(network, *images(asked.data_pack / "cifar10-test.npz", asked.device))
    told = {"epochs": f"{epochs} of {asked.epochs}", "images": f"{len(data[0])}", "test_accuracy": f"{right:.4f}"}
    tensors = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, asked.file, metadata=told)
    print(f"{told}, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
