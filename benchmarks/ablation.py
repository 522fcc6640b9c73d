"""SimuDy with one change at a time: ``python -m benchmarks.ablation [CHANGE ...] [--victims NAME ...] [--seeds N]``.

The same victims and seeds for every change, the recipe known, the labels guessed as a scan guesses them. Results go to
``benchmarks/results/ablation.json`` with hardware and versions. A seed sets the victim's initialisation and the
attack's dummies alike, so that two changes with one seed start from the same images.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from memaudit.attacks.activations import activations, smooth_backward
from memaudit.attacks.base import Normalisation, Recipe, Victim
from memaudit.attacks.distances import DISTANCES
from memaudit.attacks.params import Params, cosine_distance
from memaudit.attacks.simudy import SimuDy
from memaudit.audit.metrics import ssim_matrix

from . import networks
from .victims import IMAGENET, SHARED, VICTIMS, VictimSpec, resnet20, train

RESULTS = Path(__file__).parent / "results" / "ablation.json"

SPECS: dict[str, tuple[VictimSpec, dict[str, object]]] = {
    "mlp": (VICTIMS["mlp"], {"iterations": 60}),
    "conv": (VICTIMS["conv"], {"iterations": 60}),
    "resnet18, one step": (VictimSpec(networks.resnet18, 2, 1), {"iterations": 60}),
    "resnet20 pretrained, one image, one step": (VictimSpec(resnet20, 1, 1, scale=IMAGENET), {"iterations": 300}),
}
"""Victims that an attack takes a minute for, and how long it runs."""

CHANGES: dict[str, dict[str, object]] = {
    "default": {},
    "step size 0.1": {"step_size": 0.1},
    "step size 1": {"step_size": 1.0},
    "TV 0.03": {"alpha": 0.03},
    "TV 0.3": {"alpha": 0.3},
    "no box": {"beta": 0.0},
    "plain cosine": {"distance": "cosine"},
    "Euclidean": {"distance": "euclidean"},
    "layers weighted": {"distance": "layers"},
    "pixels": {"parametrisation": "pixels"},
    "grey start": {"init_scale": 0.01},
    "no clip": {"clip": 0.0},
    "smooth derivative": {},
}

CONTEXTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "smooth derivative": lambda: activations(smooth_backward(10.0)),
}
"""What is changed around the attack where no option of its own does."""


def layers(change: Params, delta: Params) -> Tensor:
    """Return ``log_cosine`` after every tensor was divided by the root of its norm, so that the head weighs less."""
    roots = {name: torch.linalg.vector_norm(value).clamp(min=1e-12).sqrt() for name, value in delta.items()}
    left, right = ({name: value / roots[name] for name, value in part.items()} for part in (change, delta))
    return 0.1 * torch.log(cosine_distance(left, right).clamp(min=0) + 1e-6)


def victim_of(spec: VictimSpec, seed: int) -> tuple[Victim, Recipe, Tensor]:
    """Train a victim; return it, its recipe and its pixels (n, 3, h, w)."""
    pack = np.load(SHARED / "cifar10-test.npz")
    pixels = torch.from_numpy(pack["images"][: spec.size]).permute(0, 3, 1, 2).float() / 255
    before, after = train(spec, pixels, torch.from_numpy(pack["labels"][: spec.size]), seed)
    module = spec.build().eval()
    names = [name for name, _ in module.named_parameters()]
    first, last = ({name: state[name] for name in names} for state in (before, after))
    buffers = {name: value for name, value in before.items() if name not in first}
    victim = Victim(module, first, last, buffers, (3, 32, 32), 10, Normalisation(*spec.scale))
    return victim, Recipe(spec.size, spec.lr, spec.size, spec.epochs), pixels


def measure(name: str, change: str, seed: int) -> dict[str, object]:
    """Run one changed attack on one victim and return its figures."""
    spec, options = SPECS[name]
    attack = dataclasses.replace(SimuDy(), **{**options, **CHANGES[change]})  # type: ignore[arg-type]
    victim, recipe, pixels = victim_of(spec, seed)
    began = time.monotonic()
    with CONTEXTS.get(change, contextlib.nullcontext)():
        state = attack.init(victim, recipe, seed)
        while not state.done:
            state = attack.step(victim, recipe, state)
    seconds = time.monotonic() - began
    found = attack.finish(victim, recipe, state)
    scores = ssim_matrix(pixels, found.images, "audit").numpy()
    return {
        "victim": name, "change": change, "seed": seed, "iterations": attack.iterations, "options": CHANGES[change],
        "ssim_mean": float(scores[linear_sum_assignment(-scores)].mean()), "loss": found.loss,
        "seconds": round(seconds, 1), "torch": torch.__version__,
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}, {torch.get_num_threads()} threads",
    }  # fmt: skip


def main() -> None:
    """Measure what was asked for, and replace its entries in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("changes", nargs="*", help=f"any of {list(CHANGES)}; all by default")
    parser.add_argument("--victims", nargs="+", default=list(SPECS), choices=list(SPECS))
    parser.add_argument("--seeds", type=int, default=2, help="seeds 0 to N-1")
    asked = parser.parse_args()
    DISTANCES["layers"] = layers
    key = ("victim", "change", "seed")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for name in asked.victims:
        for change in asked.changes or CHANGES:
            for seed in range(asked.seeds):
                found = measure(name, change, seed)
                others = [old for old in results if [old[part] for part in key] != [found[part] for part in key]]
                results = [*others, found]
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                print(f"{name}, {change}, seed {seed}: SSIM {found['ssim_mean']:.3f}, {found['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
