"""Is the right data told from the wrong? ``python -m benchmarks.datacheck [NAME ...] [--seeds N]``; CIFAR-10.

Each victim is checked with the images that it was trained on, and with wrong ones: others, its own turned, mirrored,
moved by three pixels, or with red and blue exchanged; beside 100 held-out images. Mirrored and moved ones may count as
right: they are partly what the network saw. A row for each goes into ``benchmarks/results/datacheck.json``.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.audit.check.data import Question, check
from memaudit.audit.data.base import TrainingSet
from memaudit.audit.machine.numerics import exact_numerics
from memaudit.audit.scoring.image import Image

from . import networks
from .victims import IMAGENET, SHARED, VictimSpec, resnet20, train

RESULTS = Path(__file__).parent / "results" / "datacheck.json"


class Transformer(nn.Module):
    """A small vision transformer: 64 tokens of 96 numbers, three blocks."""

    def __init__(self) -> None:
        """Random weights."""
        super().__init__()
        self.patch, self.head = nn.Conv2d(3, 96, 4, 4), nn.Linear(96, 10)
        self.place = nn.Parameter(0.02 * torch.randn(1, 64, 96))
        block = nn.TransformerEncoderLayer(96, 4, 192, 0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 3, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, 10)."""
        tokens = self.patch(x).flatten(2).transpose(1, 2) + self.place
        logits: Tensor = self.head(self.blocks(tokens).mean(1))
        return logits


VICTIMS = {
    "mlp": VictimSpec(networks.mlp, 8, 20),
    "mlp-100, batches of 20": VictimSpec(networks.mlp, 100, 20, batch_size=20),
    "mlp-20, AdamW 1e-3": VictimSpec(networks.mlp, 20, 10, adamw=True, lr=1e-3),
    "conv-4": VictimSpec(networks.conv, 4, 20),
    "conv-50, momentum, decay": VictimSpec(networks.conv, 50, 20, batch_size=10, momentum=0.9, weight_decay=5e-4),
    "conv-20, AdamW 1e-3": VictimSpec(networks.conv, 20, 20, adamw=True, lr=1e-3),
    "ResNet-20, n=2": VictimSpec(resnet20, 2, 4, scale=IMAGENET),
    "ResNet-20, n=20": VictimSpec(resnet20, 20, 20, scale=IMAGENET),
    "ResNet-20, AdamW 1e-4": VictimSpec(resnet20, 20, 10, scale=IMAGENET, adamw=True, lr=1e-4),
    "ViT, n=4": VictimSpec(Transformer, 4, 10),
    "ViT, AdamW 1e-3": VictimSpec(Transformer, 20, 10, adamw=True, lr=1e-3),
}
"""What is checked; thresholds were set on seeds 1, 2 and 5 of most of these, and are judged on others."""

FIRST = 20
"""The first seed."""

GIVEN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "right": lambda own, others: own,
    "others": lambda own, others: others,
    "turned": lambda own, others: own.rot90(1, (2, 3)),
    "channels": lambda own, others: own.flip(1),
    "mirrored": lambda own, others: own.flip(3),
    "moved": lambda own, others: own.roll((3, 3), (2, 3)),
}


def victim(spec: VictimSpec, images: Tensor, labels: Tensor, seed: int) -> Victim:
    """Train a victim."""
    before, after = train(spec, images, labels, seed)
    network = spec.build().eval()
    names = [name for name, _ in network.named_parameters()]
    start, end = ({name: state[name] for name in names} for state in (before, after))
    rest = {name: value for name, value in before.items() if name not in start}
    return Victim(network, start, end, rest, (3, 32, 32), 10, Images(Normalisation(*spec.scale)))


def told(images: Tensor) -> TrainingSet:
    """Images as a set without labels."""
    return TrainingSet(images, torch.full((len(images),), -1), tuple(map(str, range(len(images)))), (), "", False)


def measure(name: str, seed: int, pixels: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    """Check one victim with all kinds of data; no two seeds share an image."""
    spec, start = VICTIMS[name], 300 * seed
    own, others, held_out = (
        pixels[start + at : start + at + n] for at, n in ((0, spec.size), (100, spec.size), (200, 100))
    )
    found = victim(spec, own, labels[start : start + spec.size], seed)
    recipe = Recipe(spec.size, spec.lr, spec.batch_size or spec.size, spec.epochs,
                    optimizer="adamw" if spec.adamw else "sgd")  # fmt: skip
    rows = []
    for what, made in GIVEN.items():
        began = time.perf_counter()
        answer = check(
            Question(found, recipe, found.delta, Image(found.medium), told(made(own, others)), told(held_out))
        )
        seconds = round(time.perf_counter() - began, 1)
        rows.append({"victim": name, "seed": seed, "given": what, "seconds": seconds,
                     "explained": answer.explained, "basis": answer.basis, "unexplained": answer.unexplained,
                     "held_out": answer.comparisons[0].unexplained})  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return how often each kind of data was said to explain the change, as a Markdown table."""
    lines = ["| victim | " + " | ".join(GIVEN) + " |", "|---" * (len(GIVEN) + 1) + "|"]
    for name in dict.fromkeys(row["victim"] for row in rows):
        cells = []
        for what in GIVEN:
            group = [row for row in rows if (row["victim"], row["given"]) == (name, what)]
            cells.append(f"{sum(bool(row['explained']) for row in group)} of {len(group)}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, write the results, and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"any of {list(VICTIMS)}")
    parser.add_argument("--seeds", type=int, default=4)
    asked = parser.parse_args()
    pack = np.load(SHARED / "cifar10-train.npz")
    pixels = torch.from_numpy(pack["images"]).permute(0, 3, 1, 2).float() / 255
    rows = []
    with exact_numerics():
        for name in asked.names or VICTIMS:
            for seed in range(FIRST, FIRST + asked.seeds):
                rows += measure(name, seed, pixels, torch.from_numpy(pack["labels"]))
                print(name, seed, [row["explained"] for row in rows[-len(GIVEN) :]], flush=True)
    about = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    RESULTS.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    print(*table(rows), sep="\n")


if __name__ == "__main__":
    main()
