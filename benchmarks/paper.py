"""The SimuDy paper's table, ResNet-18 on CIFAR-10 (Tian et al., ICLR 2025): ``python -m benchmarks.paper [N ...]``.

A row is a number N of images that a pretrained network with a fresh head was fine-tuned on. With ``--budget SECONDS``
a call stops in time, exits with 75 while work is left, and continues from the run folder when it is called again. A
finished attack goes to ``benchmarks/results/paper.json`` and is not run again; ``--table`` writes docs/benchmarks.md.

Needs torch, torchvision, numpy, scipy and safetensors, and neither the console script nor an installation::

    PYTHONPATH=.links python3 -m benchmarks.paper 20 --data-pack DIR --budget 540

A run goes through ``drive``, the loop of a scan, whose deadline can be kept to the second for one attack at a time. The
recipe is known to the attacks; labels and the order of batches are not.
"""

import argparse
import ast
import dataclasses
import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from memaudit import __version__
from memaudit.attacks.buzaglo import Buzaglo
from memaudit.attacks.contract.attack import Attack, Reconstruction
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.attacks.loo import Loo
from memaudit.attacks.onestep import OneStep
from memaudit.attacks.simudy import SimuDy
from memaudit.attacks.twostep import TwoStep
from memaudit.audit.data.base import TrainingSet
from memaudit.audit.families.resnet import ResNet
from memaudit.audit.machine import interrupt
from memaudit.audit.machine.clock import Deadline
from memaudit.audit.machine.numerics import exact_numerics
from memaudit.audit.run.drive import Budget, Interrupted, drive
from memaudit.audit.run.store import Store, key
from memaudit.audit.scoring.image import Image
from memaudit.audit.scoring.match import match

from .networks import fresh_head
from .paper_table import DOCS, PAPER, WEIGHTS, load, render
from .victims import SHARED, VictimSpec, train

RESULTS = Path(__file__).parent / "results" / "paper.json"
WORK_LEFT = 75
"""Exit code while work is left (EX_TEMPFAIL of sysexits.h)."""

ATTACKS: dict[str, type[Any]] = {
    "simudy": SimuDy, "loo": Loo, "twostep": TwoStep, "buzaglo": Buzaglo, "onestep": OneStep,
}  # fmt: skip
"""The authors' re-implementations of Loo and Buzaglo are ``twostep`` and ``onestep``."""


@dataclass(frozen=True)
class Subject:
    """What is fine-tuned, and on what: the first images for training, as many after them as strangers."""

    weights: str
    build: Callable[[], nn.Module]
    pixels: Tensor
    labels: Tensor
    epochs: int = 20
    batch_size: int = 20

    def spec(self, n: int) -> VictimSpec:
        """How a victim of n images is trained, in plain torch."""
        return VictimSpec(self.build, n, self.epochs, batch_size=self.batch_size)

    def images(self, start: int, count: int) -> TrainingSet:
        """Return some of the images, to match reconstructions against."""
        rows = slice(start, start + count)
        names = tuple(map(str, range(start, start + count)))
        return TrainingSet(self.pixels[rows], self.labels[rows], names, (), "", False)


def cifar(pack: Path, weights: Path) -> Subject:
    """The paper's: a pretrained ResNet-18 and CIFAR-10's test images."""
    test = np.load(pack / "cifar10-test.npz")
    pixels = torch.from_numpy(test["images"]).permute(0, 3, 1, 2).float() / 255
    name = weights.name
    if name != WEIGHTS:
        name = f"{weights.stem}-{hashlib.sha256(weights.read_bytes()).hexdigest()[:8]}"
    return Subject(name, lambda: pretrained(weights), pixels, torch.from_numpy(test["labels"]))


def toy() -> Subject:
    """A small conv net and random images of 8 x 8, two steps: the whole path in seconds."""
    gen = torch.Generator().manual_seed(0)

    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))

    return Subject("toy", build, torch.rand(8, 3, 8, 8, generator=gen), torch.arange(8) % 3, epochs=1, batch_size=2)


def pretrained(weights: Path) -> nn.Module:
    """Return a ResNet with the weights of a file and a fresh head."""
    saved, family = load_file(weights), ResNet()
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in saved.items()}
    architecture = family.recognise(tensors)
    assert architecture, f"{weights} is no ResNet"
    network = family.build(architecture).to_empty(device="cpu")
    network.load_state_dict(tensors)
    return fresh_head(network, [name for name, part in network.named_modules() if isinstance(part, nn.Linear)][-1])


def fine_tuned(subject: Subject, n: int, seed: int, folder: Path, device: str) -> tuple[Victim, str]:
    """Return the victim, trained unless its file is there, and the digest of its file."""
    spec, path = subject.spec(n), folder / f"victim-{n}-{seed}-{Path(subject.weights).stem}.safetensors"
    if not path.exists():
        sides = zip(("before", "after"), train(spec, *_first(subject, n), seed, device), strict=True)
        tensors = {f"{side}.{name}": value for side, state in sides for name, value in state.items()}
        save_file(tensors, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
    saved, module = load_file(path), subject.build().eval().to(device)
    names = {name for name, _ in module.named_parameters()}
    before, after = (
        {name.removeprefix(f"{side}."): value.to(device) for name, value in saved.items() if name.startswith(side)}
        for side in ("before", "after")
    )
    victim = Victim(
        module,
        theta0={name: value for name, value in before.items() if name in names},
        thetaf={name: value for name, value in after.items() if name in names},
        buffers={name: value for name, value in before.items() if name not in names},
        shape=tuple(subject.pixels.shape[1:]),  # type: ignore[arg-type]
        classes=int(subject.labels.max()) + 1,
        medium=Images(Normalisation(*spec.scale)),
    )
    return victim, hashlib.sha256(path.read_bytes()).hexdigest()


def _first(subject: Subject, n: int) -> tuple[Tensor, Tensor]:
    return subject.pixels[:n], subject.labels[:n]


@dataclass(frozen=True)
class Bench:
    """Where and how long rows are run: one call of this program."""

    subject: Subject
    folder: Path
    results: Path
    device: str
    deadline: float = math.inf
    steps: int | None = None

    def row(self, n: int, seed: int, attacks: Sequence[Attack]) -> bool:
        """Run one row as far as the time allows; return whether it is complete."""
        left = [attack for attack in attacks if not self._measured(n, seed, attack)]
        if not left:
            return True
        if time.monotonic() >= self.deadline:
            return False
        with exact_numerics():
            victim, digest = fine_tuned(self.subject, n, seed, self.folder, self.device)
            finished = [self._attack(n, seed, attack, victim, digest) for attack in left]
        return all(finished)

    def _attack(self, n: int, seed: int, attack: Attack, victim: Victim, digest: str) -> bool:
        if time.monotonic() >= self.deadline:
            return False
        spec = self.subject.spec(n)
        recipe = Recipe(n, spec.lr, self.subject.batch_size, spec.epochs)
        job = Store(self.folder).job(key(digest, repr(attack), repr(recipe), seed, self.device, torch.__version__))
        budget = Budget(self.steps, Deadline(self.deadline))
        outcome = drive(attack, victim, recipe, seed, job=job, budget=budget, finish=False)
        pace = outcome.seconds / max(outcome.steps, 1)
        told = f"{outcome.steps} of {attack.iterations} updates, {pace:.3g} s each, {outcome.peak_bytes / 1e6:.0f} MB"
        print(f"n = {n}, seed {seed}, {attack.name}: {told}, loss {outcome.state.loss:.4g}", flush=True)
        if outcome.status == "budget_spent" or time.monotonic() >= self.deadline:
            return False
        began = time.monotonic()
        outcome = drive(attack, victim, recipe, seed, job=job)
        found = outcome.reconstruction
        self._record({
            "n": n, "attack": attack.name, "seed": seed, "weights": self.subject.weights, "options": repr(attack),
            **self._scores(n, found, Image(victim.medium)), "status": outcome.status,
            "iterations": outcome.steps,
            "loss": found.loss if found else outcome.state.loss, "seconds": round(outcome.seconds, 1),
            "finish_seconds": round(time.monotonic() - began, 1), "peak_memory_bytes": outcome.peak_bytes,
            **machine(self.device),
        })  # fmt: skip
        return True

    def _scores(self, n: int, found: Reconstruction | None, kind: Image) -> dict[str, float | int | None]:
        """Score a reconstruction; ``ssim_strangers`` is against as many images that the victim never saw."""
        if found is None:
            return dict.fromkeys(("ssim_paper", "ssim", "ssim_strangers", "psnr", "recovered"))
        found = dataclasses.replace(found, records=found.records.cpu(), inputs=found.inputs.cpu())
        matching = match(found, self.subject.images(0, n), kind, self.subject.images(n, n))
        pairs = matching.matches
        scores = {name: [pair.details[name] for pair in pairs] for name in ("ssim_paper", "psnr")}
        scores["ssim"] = [pair.similarity for pair in pairs]
        scores["ssim_strangers"] = list(matching.null.matched)
        recovered = sum(pair.recovered for pair in pairs)
        return {**{name: round(float(np.mean(part)), 4) for name, part in scores.items()}, "recovered": recovered}

    def _measured(self, n: int, seed: int, attack: Attack) -> bool:
        wanted = (n, attack.name, seed, self.subject.weights, repr(attack), machine(self.device)["hardware"])
        fields = ("n", "attack", "seed", "weights", "options", "hardware")
        return any(tuple(row[field] for field in fields) == wanted for row in load(self.results))

    def _record(self, row: dict[str, Any]) -> None:
        same = ("n", "attack", "seed", "weights")
        others = [old for old in load(self.results) if any(old[field] != row[field] for field in same)]
        rows = sorted([*others, row], key=lambda row: [row[field] for field in same])
        beside = self.results.with_suffix(".tmp")
        beside.write_text(json.dumps(rows, indent=1) + "\n")
        beside.replace(self.results)


def machine(device: str) -> dict[str, str]:
    """Return hardware and versions."""
    cpu = f"{os.cpu_count()} cores, {platform.machine()}, {torch.get_num_threads()} threads"
    hardware = torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu
    versions = {"torch": torch.__version__, "python": platform.python_version(), "memaudit": __version__}
    return {"hardware": hardware, **versions}


def attacks(names: Sequence[str], settings: Sequence[str], iterations: int | None = None) -> list[Attack]:
    """Return the named attacks with ``ATTACK.OPTION=VALUE`` settings applied."""
    options: dict[str, dict[str, Any]] = {name: {"iterations": iterations} if iterations else {} for name in names}
    for setting in settings:
        path, _, value = setting.partition("=")
        name, _, option = path.partition(".")
        if name in options:
            options[name][option] = ast.literal_eval(value)
    return [ATTACKS[name](**chosen) for name, chosen in options.items()]


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, help=f"numbers of images; all by default: {list(PAPER)}")
    parser.add_argument("--attack", action="append", choices=list(ATTACKS), help="run only this one; repeatable")
    parser.add_argument("--set", action="append", default=[], help="ATTACK.OPTION=VALUE; repeatable")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 to N-1 of victim and attack alike")
    parser.add_argument(
        "--budget", type=float, default=math.inf, help="stop after this many seconds, not counting imports"
    )
    parser.add_argument("--steps", type=int, help="stop each attack at this many updates in all, to time them")
    parser.add_argument("--data-pack", type=Path, default=SHARED,
                        help="folder of the data pack; MEMAUDIT_DATA_PACK, or ../shared/data by default")  # fmt: skip
    parser.add_argument("--weights", type=Path, help=f"of benchmarks.pretrain; the pack's {WEIGHTS} by default")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("memaudit-runs/paper"), help="run folder")
    parser.add_argument("--results", type=Path, help="JSON file of finished rows")
    parser.add_argument("--docs", type=Path, default=DOCS, help="Markdown file that --table writes into")
    parser.add_argument("--table", action="store_true", help="render the results, run nothing")
    parser.add_argument("--toy", action="store_true", help="a tiny victim, results in the run folder: for tests")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for as far as the budget allows; return the exit code."""
    began, asked = time.monotonic(), parsed(words)
    results = asked.results or (asked.out / "paper.json" if asked.toy else RESULTS)
    if asked.table:
        render(results, asked.docs)
        return 0
    weights = asked.weights or asked.data_pack / "weights" / WEIGHTS
    subject = toy() if asked.toy else cifar(asked.data_pack, weights)
    Store(asked.out)
    bench = Bench(subject, asked.out, results, asked.device, began + asked.budget, asked.steps)
    wanted = attacks(asked.attack or list(ATTACKS), asked.set, 6 if asked.toy else None)
    rows = asked.rows or ([4] if asked.toy else list(PAPER))
    complete = [bench.row(n, seed, wanted) for n in rows for seed in range(asked.seeds)]
    return 0 if all(complete) else WORK_LEFT


if __name__ == "__main__":
    interrupt.listen()
    try:
        sys.exit(main())
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
