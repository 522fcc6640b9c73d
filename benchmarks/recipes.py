"""Training recipes read off checkpoint pairs: truth beside inference.

``python -m benchmarks.recipes [NAME ...] [--seed N]`` trains the victims with plain torch, never through memaudit's
own simulator, asks the installed console script ``memaudit infer`` how each was trained, once blind and once with the
number of samples given, and records both answers in ``benchmarks/results/recipes.json``. ``--make FOLDER`` only writes
the victims. The seed sets images, initialisation and shuffling alike.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from memaudit.attacks.contract.attack import generator
from memaudit.attacks.contract.recipe import Recipe

from . import networks
from .core import SCRIPT, calm
from .victims import CIFAR, SHARED

RESULTS = Path(__file__).parent / "results" / "recipes.json"
TOLERANCE = 0.25
Scale = tuple[tuple[float, ...], tuple[float, ...]]
PRESETS: dict[str, tuple[str, Scale]] = {
    "cifar10-test.npz": ("cifar10", CIFAR),
    "fashion.npz": ("half", ((0.5,), (0.5,))),
}
COLOUR, GREY = PRESETS


TRUTH = ("optimizer", "lr", "momentum", "weight_decay", "epochs", "batch_size", "size", "steps", "travel", "labels",
         "batch_norm")  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """One victim and how it is trained; ``counts`` are its samples per class, ``batch_size`` 0 the full batch."""

    build: Callable[[], nn.Module]
    pack: str
    counts: tuple[int, ...]
    epochs: int
    lr: float
    batch_size: int = 0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    train_mode: bool = False

    @property
    def size(self) -> int:
        """Number of training samples."""
        return sum(self.counts)

    @property
    def recipe(self) -> Recipe:
        """The same in memaudit's words."""
        return Recipe(
            self.size, self.lr, self.batch_size or self.size, self.epochs, self.momentum, optimizer=self.optimizer,
            weight_decay=self.weight_decay, batch_norm="train" if self.train_mode else "eval", labels=self.counts,
        )  # fmt: skip

    def optimiser(self, network: nn.Module) -> torch.optim.Optimizer:
        """The torch optimiser."""
        if self.optimizer == "adamw":
            return torch.optim.AdamW(network.parameters(), self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(network.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)


VICTIMS = {
    "mlp-sgd": Spec(networks.mlp, COLOUR, (1,) * 10, 20, 0.01),
    "mlp-sgd-skewed": Spec(networks.mlp, COLOUR, (8, 4, 3, 2, 1, 1, 1, 0, 0, 0), 10, 0.05, 8),
    "mlp-momentum": Spec(networks.mlp, COLOUR, (0, 6, 1, 0, 3, 2, 0, 0, 4, 0), 12, 0.002, 4, momentum=0.9),
    "mlp-adamw": Spec(networks.mlp, COLOUR, (1,) * 10, 10, 1e-4, 0, "adamw", weight_decay=0.01),
    "mlp-adamw-batches": Spec(networks.mlp, COLOUR, (4,) * 10, 5, 3e-4, 8, "adamw", weight_decay=0.01),
    "grey-sgd": Spec(networks.mlp_grey, GREY, (1, 0, 1, 0, 0, 1, 0, 1, 0, 0), 20, 0.1),
    "grey-decay": Spec(networks.mlp_grey, GREY, (10, 2, 2, 2, 6, 1, 1, 3, 2, 1), 10, 0.01, 10, "sgd", 0.9, 5e-4),
    "grey-adamw": Spec(networks.mlp_grey, GREY, (12, 9, 6, 4, 3, 2, 2, 1, 1, 0), 10, 1e-3, 16, "adamw", 0.0, 0.01),
    "conv-sgd": Spec(networks.conv, COLOUR, (1,) * 10, 40, 0.02),
    "conv-sgd-batches": Spec(networks.conv, COLOUR, (4,) * 10, 20, 0.05, 8),
    "conv-momentum": Spec(networks.conv, COLOUR, (0, 0, 0, 9, 0, 3, 0, 0, 0, 0), 30, 0.001, 4, momentum=0.9),
    "conv-grey-adamw": Spec(networks.conv_grey, GREY, (2,) * 10, 8, 3e-3, 5, "adamw", weight_decay=0.01),
    "conv-grey-unbiased": Spec(networks.conv_grey_unbiased, GREY, (3, 1, 1, 0, 0, 2, 0, 0, 1, 0), 25, 0.02),
    "conv-bn": Spec(networks.conv_bn, COLOUR, (4, 4, 4, 4, 4, 3, 3, 2, 2, 2), 10, 3e-3, 8, "sgd", 0.9, train_mode=True),
}


def draw(spec: Spec, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the training images, ``counts`` of every class, and of 100 others."""
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen = np.concatenate([order[labels[order] == k][:count] for k, count in enumerate(spec.counts)])
    return chosen, order[~np.isin(order, chosen)][:100]


def train(spec: Spec, x: Tensor, labels: Tensor, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the state dicts before and after training on network inputs ``x``."""
    torch.manual_seed(seed)
    network = spec.build().train(spec.train_mode)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer, shuffle = spec.optimiser(network), generator(seed)
    for _ in range(spec.epochs):
        for batch in torch.randperm(spec.size, generator=shuffle).split(spec.recipe.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), labels[batch]).backward()
            optimizer.step()
    return before, {name: value.clone() for name, value in network.state_dict().items()}


@torch.no_grad()
def score(spec: Spec, state: dict[str, Tensor], x: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return training loss and accuracy of a state dict, in eval mode."""
    network = spec.build().eval()
    network.load_state_dict(state)
    logits = network(x)
    return nn.functional.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def make(name: str, folder: Path, seed: int = 0, spec: Spec | None = None) -> Spec:
    """Train the victim ``name``, or the one that is given, and write its files into ``folder``."""
    spec = spec or VICTIMS[name]
    folder.mkdir(parents=True, exist_ok=True)
    pack = np.load(SHARED / spec.pack)
    pixels, labels, names = pack["images"], pack["labels"], pack["names"]
    for part, places in zip(("private", "control"), draw(spec, labels, seed), strict=True):
        np.savez(folder / f"{part}.npz", images=pixels[places], labels=labels[places], names=names)
    chosen, _ = draw(spec, labels, seed)
    mean, std = (torch.tensor(part).view(-1, 1, 1) for part in PRESETS[spec.pack][1])
    x = (torch.from_numpy(pixels[chosen]).permute(0, 3, 1, 2).float() / 255 - mean) / std
    y = torch.from_numpy(labels[chosen])
    states = train(spec, x, y, seed)
    for side, state in zip(("before", "after"), states, strict=True):
        save_file(state, folder / f"{side}.safetensors")
    recipe = spec.recipe
    truth = {key: getattr(recipe, key) for key in TRUTH}
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    (first, _), (loss, accuracy) = (score(spec, state, x, y) for state in states)
    learnt = f"loss {first:.3f} -> {loss:.3f}, accuracy {accuracy:.0%}"
    print(f"{name}: {learnt}, travel {recipe.travel:.3g}, {recipe.steps} steps", flush=True)
    return spec


def infer(spec: Spec, folder: Path, size: int | None) -> dict[str, Any]:
    """Ask the console script; return its facts by field, none with an ``error`` if it failed."""
    words = [SCRIPT, "infer", folder / "before.safetensors", folder / "after.safetensors", "--json",
             "--normalise", PRESETS[spec.pack][0], "--out", folder / f"run-{size}"]  # fmt: skip
    if "conv" in spec.build.__name__:
        words += ["--model", f"{networks.__file__}:{spec.build.__name__}"]
    if size:
        words += ["--size", str(size)]
    began = time.monotonic()
    command = [str(word) for word in words]
    done = subprocess.run(command, env=calm(), capture_output=True, text=True, check=False)
    seconds = round(time.monotonic() - began, 1)
    if done.returncode:
        return {"seconds": seconds, "error": f"exit {done.returncode}: {done.stderr[-500:]}", "recipe": {}}
    return {"seconds": seconds, "error": None, "recipe": json.loads(done.stdout)["recipe"]}


def value(facts: Mapping[str, Any], name: str) -> Any:
    """The value of a fact, None where there is none."""
    return (facts.get(name) or {}).get("value")


def family(optimizer: str | None) -> str | None:
    """Adam and AdamW are one family."""
    return "adam" if optimizer == "adamw" else optimizer


def travel(facts: Mapping[str, Any]) -> float | None:
    """The travel of the inferred recipe, None where it is incomplete."""
    names = {field.name for field in fields(Recipe)} - {"labels"}
    known = {name: value(facts, name) for name in names if value(facts, name) is not None}
    return Recipe(**known).travel if {"size", "lr", "batch_size", "epochs"} <= known.keys() else None


def reading(spec: Spec, found: dict[str, Any]) -> dict[str, Any]:
    """What one run of the script said, beside what is right about it."""
    facts = found["recipe"]
    optimizer, way, size = family(value(facts, "optimizer")), travel(facts), value(facts, "size")
    source, interval = ((facts.get("size") or {}).get(key) for key in ("source", "interval"))
    right = optimizer == family(spec.optimizer)
    return {
        **found, "family": optimizer, "family_right": right, "travel": way, "size": size,
        "travel_ratio": way and way / spec.recipe.travel,
        "travel_right": right and way is not None and abs(way / spec.recipe.travel - 1) <= TOLERANCE,
        "size_exact": source == "inferred" and size is not None and interval == [size, size],
        "labels": value(facts, "labels"), "labels_right": value(facts, "labels") == list(spec.counts),
    }  # fmt: skip


def measure(name: str, seed: int) -> dict[str, Any]:
    """Train one victim, infer its recipe with and without its size, and return truth and both answers."""
    with tempfile.TemporaryDirectory() as folder:
        spec = make(name, Path(folder), seed)
        answers = {
            key: reading(spec, infer(spec, Path(folder), n)) for key, n in (("blind", None), ("sized", spec.size))
        }
        truth = json.loads((Path(folder) / "truth.json").read_text())
    return {
        "victim": name, "seed": seed, "network": spec.build.__name__, "truth": truth, **answers,
        "torch": torch.__version__, "hardware": f"{os.cpu_count()} cores, {platform.machine()}",
    }  # fmt: skip


def show(row: dict[str, Any]) -> None:
    """Print one victim, truth / inference."""
    truth, blind, sized = row["truth"], row["blind"], row["sized"]
    print(f"{row['victim']}, seed {row['seed']}: size {truth['size']} / {blind['size']}"
          f"{' claimed exact' * blind['size_exact']}")  # fmt: skip
    for key, answer in (("blind", blind), ("--size", sized)):
        way, ratio = (format(answer[part] or float("nan"), ".3g") for part in ("travel", "travel_ratio"))
        print(f"  {key:6} {family(truth['optimizer'])} / {answer['family']}, travel {truth['travel']:.3g} / {way}, "
              f"ratio {ratio}, {answer['seconds']} s {answer['error'] or ''}")  # fmt: skip
    print(f"  counts {truth['labels']}\n       / {sized['labels']}", flush=True)


def totals(rows: list[dict[str, Any]]) -> str:
    """How many rows are right, in words."""
    lines = [f"{len(rows)} victims"]
    for key in ("blind", "sized"):
        right = {part: sum(row[key][f"{part}_right"] for row in rows) for part in ("family", "travel", "labels")}
        lines.append(f"{key}: family {right['family']}, travel within {TOLERANCE:.0%} {right['travel']}, "
                     f"label counts exact {right['labels']}")  # fmt: skip
    claims = [row["blind"]["size"] == row["truth"]["size"] for row in rows if row["blind"]["size_exact"]]
    return "\n".join([*lines, f"sizes claimed exact {len(claims)}, of these wrong {claims.count(False)}"])


def main() -> None:
    """Measure the victims that were asked for, and replace their entries in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"any of {list(VICTIMS)}; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="only write the victims, into FOLDER/NAME")
    asked = parser.parse_args()
    if unknown := set(asked.names) - VICTIMS.keys():
        parser.error(f"no victim {', '.join(sorted(unknown))}; there are {', '.join(VICTIMS)}")
    names = asked.names or list(VICTIMS)
    if asked.make:
        for name in names:
            make(name, asked.make / name, asked.seed)
        return
    results, rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else [], []
    for name in names:
        rows.append(measure(name, asked.seed))
        results = [old for old in results if (old["victim"], old["seed"]) != (name, asked.seed)] + rows[-1:]
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        show(rows[-1])
    print(totals(rows))


if __name__ == "__main__":
    main()
