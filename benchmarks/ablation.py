"""SimuDy with one change at a time: ``python -m benchmarks.ablation [CHANGE ...] [--victims NAME ...] [--seeds N]``.

The same victims and seeds for every change, the recipe known, the labels guessed as a scan guesses them. Results go to
``benchmarks/results/ablation.json`` with hardware and versions. A seed sets the victim's initialisation and the
attack's dummies alike, so that two changes with one seed start from the same images.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from memaudit.attacks.contract.attack import Attack, State
from memaudit.attacks.contract.params import Params, cosine_distance
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.attacks.optimise.distances import DISTANCES, log_cosine
from memaudit.attacks.optimise.lbfgs import LBFGS
from memaudit.attacks.simudy import SimuDy
from memaudit.attacks.simulation.activations import activations, smooth_backward
from memaudit.attacks.simulation.adjoints import ADJOINTS
from memaudit.attacks.simulation.dynamics import simulate
from memaudit.attacks.sme import SME
from memaudit.audit.run.drive import drive
from memaudit.audit.scoring.similarity import ssim_matrix

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
    "no TV": {"alpha": 0.0},
    "TV 0.03": {"alpha": 0.03},
    "TV 0.3": {"alpha": 0.3},
    "colours as brightness": {"chroma": 1.0},
    "no box": {"beta": 0.0},
    "plain cosine": {"distance": "cosine"},
    "Euclidean": {"distance": "euclidean"},
    "layers weighted": {"distance": "layers"},
    "head left out": {"distance": "headless"},
    "largest tenth of entries": {"distance": "largest"},
    "70 % of entries at random": {"distance": "drawn"},
    "pixels": {"parametrisation": "pixels"},
    "generator": {"parametrisation": "generator"},
    "grey start": {"init_scale": 0.01},
    "no clip": {"clip": 0.0},
    "smooth derivative": {},
    "started from sme": {},
    "five epochs first": {},
    "L-BFGS at the end": {},
}

CONTEXTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "smooth derivative": lambda: activations(smooth_backward(10.0)),
}
"""What is changed around the attack where no option of its own does."""


def plain(attack: Attack, victim: Victim, recipe: Recipe, seed: int) -> State:
    """Return the state at the end of the attack's schedule."""
    return drive(attack, victim, recipe, seed, finish=False).state


def warm(attack: SimuDy, victim: Victim, recipe: Recipe, seed: int) -> State:
    """Start from the end of ``sme``."""
    start = plain(SME(), victim, recipe, seed)
    return drive(attack, victim, recipe, seed, finish=False, start=start).state


def curriculum(attack: SimuDy, victim: Victim, recipe: Recipe, seed: int) -> State:
    """Simulate at most five epochs that travel as far in the first half of the schedule."""
    state = attack.init(victim, recipe, seed)
    plan = state.constants["plan"]
    epochs = min(5, recipe.epochs)
    short = dataclasses.replace(recipe, epochs=epochs, lr=recipe.lr * recipe.epochs / epochs)
    while not state.done:
        part = short if state.step < attack.iterations // 2 else recipe
        state = dataclasses.replace(state, constants={**state.constants, "plan": plan[: part.steps]})
        state = attack.step(victim, part, state)
    return dataclasses.replace(state, constants={**state.constants, "plan": plan})


def quasi_newton(attack: SimuDy, victim: Victim, recipe: Recipe, seed: int) -> State:
    """Give the last quarter of the steps to L-BFGS on the distance and the box."""
    rest = attack.iterations // 4
    state = plain(dataclasses.replace(attack, iterations=attack.iterations - rest), victim, recipe, seed)
    labels, plan = state.constants["best_labels"], state.constants["plan"]

    def change(x: Tensor) -> Params:
        return victim.change(simulate(victim, recipe, x, labels, plan, adjoint=ADJOINTS["full"]))

    def objective(variables: Mapping[str, Tensor]) -> Tensor:
        x = victim.medium.inputs(variables)
        return DISTANCES[attack.distance](change(x), victim.delta) + attack.beta * victim.medium.excess(x)

    # A line search takes about a quarter more evaluations than iterations.
    variables, _ = LBFGS(inner=rest * 4 // 5).update(state.variables, {}, objective)
    x = victim.medium.inputs(variables)
    with torch.no_grad():
        loss = cosine_distance(change(x), victim.delta)
    better = loss < state.memory["best_loss"]
    kept = {"best_x": x, "best_loss": loss} if better else {}
    return dataclasses.replace(state, variables=variables, memory={**state.memory, **kept})


WAYS = {"started from sme": warm, "five epochs first": curriculum, "L-BFGS at the end": quasi_newton}
"""How the attack is run where that is what is changed."""


def layers(change: Params, delta: Params) -> Tensor:
    """Return ``log_cosine`` after every tensor was divided by the root of its norm, so that the head weighs less."""
    roots = {name: torch.linalg.vector_norm(value).clamp(min=1e-12).sqrt() for name, value in delta.items()}
    left, right = ({name: value / roots[name] for name, value in part.items()} for part in (change, delta))
    return 0.1 * torch.log(cosine_distance(left, right).clamp(min=0) + 1e-6)


def headless(change: Params, delta: Params) -> Tensor:
    """Return ``log_cosine`` without the last layer, which a fresh head makes loud."""
    names = list(delta)[:-2]
    return log_cosine({name: change[name] for name in names}, {name: delta[name] for name in names})


def largest(change: Params, delta: Params) -> Tensor:
    """Return ``log_cosine`` over the tenth of each tensor's entries that changed most (after FedLeak, 2025)."""
    least = {
        name: value.abs().flatten().kthvalue(math.ceil(0.9 * value.numel())).values for name, value in delta.items()
    }
    return log_cosine(
        *({name: part[name] * (delta[name].abs() >= least[name]) for name in delta} for part in (change, delta))
    )


class Drawn:
    """``log_cosine`` over 70 % of the entries, drawn anew in each update (after HF-GradInv, AAAI 2024)."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, change: Params, delta: Params) -> Tensor:
        """Return the dissimilarity of two changes over entries that the next draw keeps."""
        kept = {name: torch.rand(value.shape, generator=self.generator) < 0.7 for name, value in delta.items()}
        return log_cosine(*({name: part[name] * kept[name] for name in delta} for part in (change, delta)))


def victim_of(
    spec: VictimSpec, seed: int, device: torch.device | str = "cpu", pack: Path = SHARED
) -> tuple[Victim, Recipe, Tensor]:
    """Train a victim on the CPU; return it on a device, its recipe and its pixels (n, 3, h, w)."""
    images = np.load(pack / "cifar10-test.npz")
    pixels = torch.from_numpy(images["images"][: spec.size]).permute(0, 3, 1, 2).float() / 255
    before, after = train(spec, pixels, torch.from_numpy(images["labels"][: spec.size]), seed)
    module = spec.build().eval().to(device)
    names = [name for name, _ in module.named_parameters()]
    first, last = ({name: state[name].to(device) for name in names} for state in (before, after))
    buffers = {name: value.to(device) for name, value in before.items() if name not in first}
    victim = Victim(module, first, last, buffers, (3, 32, 32), 10, Images(Normalisation(*spec.scale)))
    return victim, Recipe(spec.size, spec.lr, spec.size, spec.epochs), pixels


def ssim_mean(pixels: Tensor, images: Tensor) -> float:
    """Return the mean SSIM of the best pairs of training images and reconstructions."""
    scores = ssim_matrix(pixels, images.cpu(), "audit").numpy()
    return float(scores[linear_sum_assignment(-scores)].mean())


def measure(name: str, change: str, seed: int) -> dict[str, object]:
    """Run one changed attack on one victim and return its figures."""
    spec, options = SPECS[name]
    attack = dataclasses.replace(SimuDy(), **{**options, **CHANGES[change]})  # type: ignore[arg-type]
    victim, recipe, pixels = victim_of(spec, seed)
    DISTANCES.update(layers=layers, headless=headless, largest=largest, drawn=Drawn())
    began = time.monotonic()
    with CONTEXTS.get(change, contextlib.nullcontext)():
        state = WAYS.get(change, plain)(attack, victim, recipe, seed)
    seconds = time.monotonic() - began
    found = attack.finish(victim, recipe, state)
    return {
        "victim": name, "change": change, "seed": seed, "iterations": attack.iterations, "options": CHANGES[change],
        "ssim_mean": ssim_mean(pixels, found.records), "loss": found.loss,
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
