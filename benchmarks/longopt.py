"""Is the kind of optimiser read right after a long training? ``python -m benchmarks.longopt [--seed N] [WORD ...]``.

A small MLP or convolutional network is trained on 1,000 images of CIFAR-10 in batches of 50, from scratch or going on
from 200 steps of SGD, by each optimiser with each loss. ``inspect`` then looks at the two files. A row is right, wrong,
or open: nothing said, or something else said with less than 0.8. Words choose the rows whose name has them all.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from memaudit.audit.tasks.inspect import inspect

from . import networks
from .paper_table import load
from .victims import CIFAR, SHARED

RESULTS = Path(__file__).parent / "results" / "longopt.json"
SURE = 0.8
"""Confidence from which a wrong answer counts as wrong."""

NETWORKS: dict[str, Callable[[], nn.Module]] = {"mlp": lambda: networks.shallow(64), "conv": networks.conv}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.05),
    "momentum": lambda parameters: torch.optim.SGD(parameters, 0.01, momentum=0.9, weight_decay=5e-4),
    "adam": lambda parameters: torch.optim.Adam(parameters, 1e-3),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 3e-4),
}
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "softmax": functional.cross_entropy,
    "bce": lambda logits, y: functional.binary_cross_entropy_with_logits(logits, functional.one_hot(y, 10).float()),
    "mse": lambda logits, y: functional.mse_loss(logits, functional.one_hot(y, 10).float()),
}
ROWS = [" ".join(row) for row in product(NETWORKS, OPTIMIZERS, LOSSES, ("scratch", "on"), ("200", "800"))]


def fit(network: nn.Module, data: tuple[Tensor, Tensor], how: tuple[str, str, int], gen: torch.Generator) -> None:
    """Train a network: optimiser, loss and number of steps."""
    optimizer, loss, steps = OPTIMIZERS[how[0]](network.parameters()), LOSSES[how[1]], how[2]
    for _ in range(steps):
        rows = torch.randint(len(data[1]), (50,), generator=gen)
        optimizer.zero_grad()
        loss(network(data[0][rows]), data[1][rows]).backward()
        optimizer.step()


def measure(name: str, data: tuple[Tensor, Tensor], seed: int) -> dict[str, Any]:
    """Train one row, and return what is read off its files."""
    kind, optimizer, loss, start, steps = name.split()
    torch.manual_seed(seed)
    network, gen = NETWORKS[kind](), torch.Generator().manual_seed(seed)
    if start == "on":
        fit(network, data, ("sgd", loss, 200), gen)
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{when}.pt" for when in ("before", "after")]
        torch.save(network.state_dict(), files[0])
        fit(network, data, (optimizer, loss, int(steps)), gen)
        torch.save(network.state_dict(), files[1])
        found = inspect(*files)["delta"].get("optimizer")
    said, sure = (found["value"], found["confidence"]) if found else ("", 0.0)
    truth = "adam" if optimizer.startswith("adam") else "sgd"
    right = str(said).startswith(truth)
    verdict = "open" if not said or (not right and sure < SURE) else "right" if right else "wrong"
    return {"row": name, "seed": seed, "said": said, "confidence": round(sure, 2), "verdict": verdict}


def main(words: Sequence[str] | None = None) -> None:
    """Measure the rows that were asked for, and add them to the results file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="rows whose name has all of these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    pack = np.load(SHARED / "cifar10-train.npz")
    pixels = torch.from_numpy(pack["images"][:1000]).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in CIFAR)
    data, known = ((pixels - mean) / std, torch.from_numpy(pack["labels"][:1000]).long()), load(asked.results)
    done = {(row["row"], row["seed"]) for row in known}
    for name in ROWS:
        if (name, asked.seed) not in done and set(asked.words) <= set(name.split()):
            known.append(measure(name, data, asked.seed))
            asked.results.write_text(json.dumps(known, indent=1) + "\n")
            print(known[-1], flush=True)
    print(dict(Counter(row["verdict"] for row in known)))


if __name__ == "__main__":
    main()
