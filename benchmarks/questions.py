"""The SimuDy paper's questions on networks that a CPU can attack: ``python -m benchmarks.questions [GROUP ...]``.

``rate``     Figures 2, 3 and 7: an MLP of 60 images in batches of 20, learning rate and batch size guessed
``start``    Figure 8: a conv net of 10 images, dummies started from noise and from other images
``tv``       appendix C.3: a conv net of 4 images, weights of the total variation, under the paper's loss and under ours
``loop``     the published loop with its published settings beside ours: seconds until the images are there
``cost``     what one update takes on ResNet-18 or ResNet-50 of 20 images, where a row is too long to run here

A row goes to ``benchmarks/results/questions.json`` with hardware and versions and is not run again. Victims are trained
in plain PyTorch on CIFAR-10's first test images. The attacks know the recipe but for what a group says; labels are
guessed as a scan guesses them, but the published loop is told them. A seed sets the victim's initialisation and the
dummies alike. Seconds are those of the processor, which a busy machine disturbs least.
"""

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from memaudit.attacks.contract.attack import Attack, State
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.cover import Cover
from memaudit.attacks.onestep import OneStep
from memaudit.attacks.optimise.optim import Adam
from memaudit.attacks.simudy import SimuDy
from memaudit.attacks.twostep import TwoStep
from memaudit.audit.machine.numerics import exact_numerics
from memaudit.audit.run.drive import Budget, drive
from memaudit.audit.scoring.similarity import ssim_matrix

from . import cover, networks
from .ablation import victim_of
from .engine import published
from .paper import machine
from .paper_table import load
from .victims import SHARED, VICTIMS, VictimSpec

RESULTS = Path(__file__).parent / "results" / "questions.json"

RATES = (1e-3, 3e-3, 7e-3, 2e-2, 1e-1)
BATCHES = (20, 32, 12)
SIXTY = VictimSpec(networks.mlp, 60, 5, lr=7e-3, batch_size=20)
"""The paper's learning rate, batch size and number of images; its network is a ResNet-18."""

PUBLISHED: dict[str, Any] = {
    "distance": "cosine", "chroma": 1.0, "beta": 0.0, "parametrisation": "pixels", "init_scale": 0.5,
}  # fmt: skip
"""The paper's loss on pixels; the step size and the schedule stay ours."""

UPDATES = 75
"""Length of the schedule in ``rate``, ``start`` and ``tv``."""

LEVELS = (0.3, 0.5, 0.7, 0.8, 0.9)
"""Mean audit-mode SSIM whose first time is recorded."""
LIMIT = 180.0
"""Seconds of the processor that the published loop has."""
EPOCHS, PERIOD = 8, 100
"""The published loop simulates 8 epochs for 20, and its step size swings between 0.01 and 0 in so many updates."""


def scored(victim: Victim, pixels: Tensor, x: Tensor) -> dict[str, float]:
    """Score normalised dummies (m, 3, h, w) in pairs that audit mode chooses: both scorings, means over the images."""
    audit = ssim_matrix(pixels, victim.medium.records(x), "audit").numpy()
    paper = ssim_matrix(victim.medium.encode(pixels), x, "paper").numpy()
    pairs = linear_sum_assignment(-audit)
    return {"ssim": round(float(audit[pairs].mean()), 4), "ssim_paper": round(float(paper[pairs].mean()), 4),
            "recovered": int((audit[pairs] >= 0.4).sum())}  # fmt: skip


def attacked(
    attack: Attack, victim: Victim, recipe: Recipe, pixels: Tensor, seed: int, start: State | None = None
) -> dict[str, Any]:
    """Run an attack to its end; return scores, loss, also after 50 updates, and seconds."""
    began = time.process_time()
    outcome = drive(attack, victim, recipe, seed, start=start)
    seconds, found = time.process_time() - began, outcome.reconstruction
    assert found is not None
    early = [loss for step, loss in outcome.curve if step <= 50]
    return {**scored(victim, pixels, found.inputs), "loss": round(found.loss, 5), "loss_50": round(early[-1], 5),
            "updates": outcome.steps, "seconds": round(seconds, 1)}  # fmt: skip


def rate(seed: int, batch_size: int, lr: float) -> dict[str, Any]:
    """Attack the MLP of 60 images under a guess of its batch size and learning rate."""
    victim, recipe, pixels = victim_of(SIXTY, seed)
    guessed = dataclasses.replace(recipe, batch_size=batch_size, lr=lr)
    return attacked(SimuDy(iterations=UPDATES), victim, guessed, pixels, seed)


def start(seed: int, others: bool) -> dict[str, Any]:
    """Attack the conv net from noise, or from images that it never saw; pixels are optimised, not scales."""
    victim, recipe, pixels = victim_of(VICTIMS["conv"], seed)
    attack, n = SimuDy(iterations=UPDATES, parametrisation="pixels"), len(pixels)
    state = attack.init(victim, recipe, seed)
    images = np.load(SHARED / "cifar10-test.npz")["images"][-n:]
    if others:
        strange = victim.medium.encode(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
        state = dataclasses.replace(state, variables={**state.variables, "x": strange})
    while not state.done:
        state = attack.step(victim, recipe, state)
    found = attack.finish(victim, recipe, state)
    resembled = scored(victim, torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, found.inputs)
    return {**scored(victim, pixels, found.inputs), "loss": round(found.loss, 5), "updates": attack.iterations,
            "ssim_others": resembled["ssim"]}  # fmt: skip


def tv(seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """Attack the conv net of four images with one weight of the total variation."""
    victim, recipe, pixels = victim_of(VictimSpec(networks.conv, 4, 20), seed)
    return attacked(SimuDy(iterations=UPDATES, **options), victim, recipe, pixels, seed)


def theirs(victim: Victim, n: int, seed: int) -> Iterator[Tensor]:
    """Yield the dummies of the published loop after every update: its noise, Adam, and swinging step size."""
    variables = {"x": 0.5 * torch.randn(n, *victim.shape, generator=torch.Generator().manual_seed(seed))}
    labels = torch.from_numpy(np.load(SHARED / "cifar10-test.npz")["labels"][:n])
    rule, update = Adam(0.01), 0
    memory = rule.start(variables)
    while True:
        grad = published(victim, variables["x"].detach().requires_grad_(), labels, EPOCHS)
        swing = 0.5 * (1 + np.cos(np.pi * update / PERIOD))
        variables, memory = rule.update(variables, {"x": grad}, memory, update, float(swing))
        update += 1
        yield variables["x"]


def ours(victim: Victim, recipe: Recipe, seed: int) -> Iterator[Tensor]:
    """Yield the dummies of `simudy` after every update."""
    attack = SimuDy()
    state = attack.init(victim, recipe, seed)
    while not state.done:
        state = attack.step(victim, recipe, state)
        yield victim.medium.inputs(state.variables).detach()


def loop(seed: int, n: int, published_loop: bool) -> dict[str, Any]:
    """Time a loop on the conv net of n images until its dummies reach each level; scoring is off the clock."""
    victim, recipe, pixels = victim_of(VictimSpec(networks.conv, n, 20), seed)
    spent, updates, reached, last = 0.0, 0, dict[str, float](), {}
    steps = theirs(victim, n, seed) if published_loop else ours(victim, recipe, seed)
    while spent < LIMIT:
        began = time.process_time()
        x = next(steps, None)
        spent += time.process_time() - began
        if x is None:
            break
        updates += 1
        if updates % (20 if published_loop else 5) == 0:
            last = scored(victim, pixels, x)
            for level in LEVELS:
                if last["ssim"] >= level:
                    reached.setdefault(str(level), round(spent, 1))
    return {**last, "reached": reached, "updates": updates, "seconds": round(spent, 1)}


COSTS: dict[str, tuple[str, Attack, int]] = {
    "onestep": ("n20", OneStep(), 2),
    "twostep": ("n20", TwoStep(), 2),
    "cover, ResNet-50": ("resnet50", Cover(), 3),
}
"""A row of :data:`benchmarks.cover.ROWS`, the attack, and how many updates are timed."""


def cost(seed: int, name: str) -> dict[str, Any]:
    """Time updates of an attack on twenty images, the first one and what comes before it not counted."""
    row, attack, updates = COSTS[name]
    images, spec = cover.Images10.of(cover.ROWS[row], SHARED), cover.ROWS[row].spec
    victim = cover.victim_of(cover.ROWS[row], images, 0, seed, "cpu")
    recipe = Recipe(spec.size, spec.lr, spec.batch_size or spec.size, spec.epochs)
    outcome, times = drive(attack, victim, recipe, seed, budget=Budget(1), finish=False), []
    state = outcome.state
    for _ in range(updates):
        began = time.process_time()
        state = attack.step(victim, recipe, state)
        times.append(time.process_time() - began)
    return {"row": row, "n": spec.size, "updates": updates, "schedule": attack.iterations,
            "seconds": round(statistics.median(times), 2), "peak_memory_bytes": outcome.peak_bytes}  # fmt: skip


Task = Callable[[int], dict[str, Any]]
GROUPS: dict[str, dict[str, Task]] = {
    "loop": {
        f"{name}, n = {n}": partial(loop, n=n, published_loop=name == "published")
        for n in (2, 4) for name in ("ours", "published")
    },
    "tv": {
        **{f"paper's loss, {weight:g}": partial(tv, options={**PUBLISHED, "alpha": weight})
           for weight in (0.0, 5e-4, 2e-3, 5e-2)},
        **{f"our loss, {weight:g}": partial(tv, options={"alpha": weight}) for weight in (0.0, 0.03, 0.1, 0.3, 1.0)},
    },
    "start": {"noise": partial(start, others=False), "other images": partial(start, others=True)},
    "rate": {f"batch {size}, rate {lr:g}": partial(rate, batch_size=size, lr=lr) for size in BATCHES for lr in RATES},
    "cost": {name: partial(cost, name=name) for name in COSTS},
}  # fmt: skip


def main(words: Sequence[str] | None = None) -> None:
    """Measure what was asked for and is not in the results file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", help=f"any of {list(GROUPS)}; all by default")
    parser.add_argument("--rows", nargs="*", help="only these of a group")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(words)
    for group in asked.groups or GROUPS:
        for row, task in GROUPS[group].items():
            for seed in asked.seeds if asked.rows is None or row in asked.rows else []:
                about = {"group": group, "asked": row, "seed": seed}
                if any(all(old[key] == value for key, value in about.items()) for old in load(asked.results)):
                    continue
                with exact_numerics():
                    found = {**about, **task(seed), **machine("cpu")}
                asked.results.write_text(json.dumps([*load(asked.results), found], indent=1, allow_nan=False) + "\n")
                print(", ".join(f"{key} {value}" for key, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
