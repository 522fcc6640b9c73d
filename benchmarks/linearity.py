"""Table 1 of the SimuDy paper, how linear training is: ``python -m benchmarks.linearity [ROW ...] [--seeds N]``.

100 CIFAR-10 images (the first of the test set, ten per class), plain SGD, learning rate 0.01, full batch, 20 epochs
(the paper does not say how many), networks from PyTorch's default initialisation and one pretrained, batch norm in
train mode and in eval mode. Results: ``benchmarks/results/linearity.json``. Seeds set the initialisation.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from memaudit.audit.checkpoints.pair import read
from memaudit.audit.families.detect import detect
from memaudit.audit.tasks.linearity import LinearityRequest, measure

from . import networks
from .victims import SHARED

RESULTS = Path(__file__).parent / "results" / "linearity.json"
IMAGES, EPOCHS = 100, 20


def pretrained() -> nn.Module:
    """The ResNet-18 of the data pack, trained on CIFAR-10's training set, with a fresh head."""
    tensors = read(SHARED / "weights" / "resnet18-cifarstem-fp16.safetensors").tensors
    _, meta = detect(tensors)
    network = meta.to_empty(device="cpu")
    network.load_state_dict(tensors, strict=False)
    return networks.fresh_head(network, "linear")


ROWS: dict[str, tuple[Callable[[], nn.Module], Literal["train", "eval"], float]] = {
    "mlp 200": (partial(networks.shallow, 200), "train", 0.9134),
    "mlp 500": (partial(networks.shallow, 500), "train", 0.9165),
    "mlp 1000": (partial(networks.shallow, 1000), "train", 0.9306),
    "mlp 2000": (partial(networks.shallow, 2000), "train", 0.9396),
    "mlp 4000": (partial(networks.shallow, 4000), "train", 0.9535),
    "resnet18, default init": (networks.resnet18, "train", 0.5988),
    "resnet18, pretrained": (pretrained, "train", 0.5988),
    "resnet18, default init, eval": (networks.resnet18, "eval", 0.5988),
    "resnet18, pretrained, eval": (pretrained, "eval", 0.5988),
}
"""The network, the mode of batch norm, the paper's value; of its ResNet-18 the paper gives neither mode nor start."""


def run(row: str, seed: int, epochs: int) -> dict[str, object]:
    """Measure one row and return its figures."""
    build, mode, paper = ROWS[row]
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_file(build().state_dict(), folder / "before.safetensors")
        with np.load(SHARED / "cifar10-test.npz") as pack:
            images = {key: pack[key][:IMAGES] for key in ("images", "labels")} | {"names": pack["names"]}
        np.savez(folder / "data.npz", **images)
        request = LinearityRequest(
            folder / "before.safetensors", folder / "data.npz", normalise="cifar10", epochs=epochs, batch_norm=mode
        )
        found = measure(request)
    return {
        "row": row, "seed": seed, "paper": paper, "value": round(found.value, 4), "lowest": round(found.lowest, 4),
        "highest": round(found.highest, 4), "images": found.samples, "epochs": found.epochs, "lr": found.recipe.lr,
        "batch_size": found.recipe.batch_size, "optimizer": found.recipe.optimizer, "batch_norm": mode,
        "normalise": found.normalise, "architecture": found.architecture, "seconds": round(found.seconds, 1),
        "torch": torch.__version__,
        "hardware": f"{torch.get_num_threads()} of {os.cpu_count()} cores, {platform.machine()}",
    }  # fmt: skip


def main() -> None:
    """Measure the rows that were asked for, and replace their entries in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"any of {list(ROWS)}; all by default")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 to N-1")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    asked = parser.parse_args()
    for row in asked.rows or ROWS:
        for seed in range(asked.seeds):
            found = run(row, seed, asked.epochs)
            old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
            key = ("row", "seed", "epochs")
            kept = [entry for entry in old if any(entry[part] != found[part] for part in key)]
            RESULTS.write_text(json.dumps([*kept, found], indent=1) + "\n")
            print(f"{row}, seed {seed}: {found['value']} (paper {found['paper']}), {found['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
