"""What a change betrays of single records: ``python -m benchmarks.exposure ROW ... [--seeds N ...]``.

A row is a victim, trained in plain PyTorch on images of CIFAR-10, whose training images are held against as many
others. All choices of the score were made on other victims (those whose names begin with ``tried-``: other networks,
sizes, rates and images). Rows that begin with ``null-`` hold images that were not trained on against others that were
not: many small pairs, whose p-values must be uniform. ``--views`` averages gradients over flipped and shifted views,
``--known`` gives only that share of the training images. A finished row goes to ``benchmarks/results/exposure.json``;
``--table`` prints the file as Markdown.
"""

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kstest
from torch import Tensor, nn

from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.attacks.simulation.losses import Objective
from memaudit.audit.data.base import TrainingSet
from memaudit.audit.exposure.measure import Asked, summary
from memaudit.audit.exposure.pools import Question
from memaudit.audit.machine.numerics import exact_numerics
from memaudit.audit.report.exposure import Exposure
from memaudit.audit.report.kind import IMAGE

from . import networks
from .paper import machine
from .paper_table import load
from .victims import IMAGENET, SHARED, VictimSpec, resnet18_pretrained, resnet20, train

RESULTS = Path(__file__).parent / "results" / "exposure.json"


def mlp_small() -> nn.Module:
    """A narrower MLP than the paper's: d-400-200-10."""
    layers = (nn.Linear(3072, 400), nn.ReLU(), nn.Linear(400, 200), nn.ReLU(), nn.Linear(200, 10))
    return nn.Sequential(nn.Flatten(), *layers)


ADAMW: dict[str, Any] = {"adamw": True, "weight_decay": 0.01}


def _spec(build: Any, size: int, lr: float, batch_size: int = 32, epochs: int = 5, **options: Any) -> VictimSpec:
    return VictimSpec(build, size, epochs, lr=lr, batch_size=batch_size, **options)


ROWS = {
    "mlp-1000": _spec(networks.mlp, 1000, 0.01, momentum=0.9),
    "mlp-1000-adamw": _spec(networks.mlp, 1000, 1e-4, **ADAMW),
    "conv-500": _spec(networks.conv, 500, 0.05),
    "conv-500-adamw": _spec(networks.conv, 500, 3e-4, **ADAMW),
    "conv-500-augmented": _spec(networks.conv, 500, 0.05, augmented=True),
    "conv-bn-500": _spec(networks.conv_bn, 500, 0.02, momentum=0.9, batch_norm="train"),
    "resnet20-250": _spec(resnet20, 250, 0.01, scale=IMAGENET),
    "resnet20-250-adamw": _spec(resnet20, 250, 3e-4, scale=IMAGENET, **ADAMW),
    "resnet18-500": _spec(resnet18_pretrained, 500, 0.01),
    "tried-mlp": _spec(mlp_small, 600, 0.05, momentum=0.9),
    "tried-mlp-adamw": _spec(mlp_small, 600, 3e-4, **ADAMW),
    "tried-conv-adamw": _spec(networks.conv_wide, 400, 3e-4, adamw=True),
    "tried-conv-bn": _spec(networks.conv_bn, 400, 0.02, momentum=0.9, batch_norm="train"),
    "tried-resnet20": _spec(resnet20, 150, 0.02, 16, scale=IMAGENET),
    "null-mlp": _spec(mlp_small, 60, 0.05, 16, 3, momentum=0.9),
    "null-mlp-adamw": _spec(mlp_small, 60, 3e-4, 16, 3, **ADAMW),
    "null-conv-augmented": _spec(networks.conv, 60, 0.05, 16, 3, augmented=True),
    "null-resnet20": _spec(resnet20, 60, 0.02, 16, 2, scale=IMAGENET),
}
FIRST = {name: 8000 if name.startswith("tried-") else 0 for name in ROWS}
"""The first image of each row: what choices were made on is not what they are judged on."""


def images(first: int, count: int, pack: Path) -> tuple[Tensor, Tensor]:
    """Return pixels (count, 3, 32, 32) in [0, 1] and labels of CIFAR-10's training images, from some one on."""
    found = np.load(pack / "cifar10-train.npz")
    rows = np.arange(first, first + count) % len(found["labels"])
    return torch.from_numpy(found["images"][rows]).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(
        found["labels"][rows]
    )


def victim_of(spec: VictimSpec, pixels: Tensor, labels: Tensor, seed: int) -> Victim:
    """Train a row's network on images."""
    before, after = train(spec, pixels, labels, seed)
    torch.manual_seed(seed)
    module = spec.build().eval()
    moved = [name for name, _ in module.named_parameters() if not torch.equal(before[name], after[name])]
    return Victim(
        module,
        theta0={name: before[name] for name in moved},
        thetaf={name: after[name] for name in moved},
        buffers={name: value for name, value in before.items() if name not in moved},
        shape=(3, 32, 32),
        classes=10,
        medium=Images(Normalisation(*spec.scale)),
    )


def exposed(victim: Victim, spec: VictimSpec, sets: Sequence[tuple[Tensor, Tensor]], views: int = 1) -> Exposure:
    """Return the exposure of the first of two sets beside the second."""
    (data, labels), (control, others) = sets
    shrink = (1 - spec.lr * spec.weight_decay) ** (spec.epochs * -(-spec.size // (spec.batch_size or spec.size)))
    question = Question(lambda: victim, shrink, Objective(views=views), data, control, labels, others)
    pools = [question.measured(rows, lambda _: None) for rows in question.pools()]
    named = TrainingSet(data, labels, tuple(map(str, range(len(data)))), (), "", False)
    return summary(question, Asked(named, IMAGE.words), pools)


def measure(name: str, seed: int, pack: Path, views: int, known: float) -> dict[str, Any]:
    """Train a row's victim, and return how its images are exposed."""
    spec = ROWS[name]
    n, first = spec.size, FIRST[name] + 2 * seed * spec.size
    pixels, labels = images(first, 2 * n, pack)
    victim, kept = victim_of(spec, pixels[:n], labels[:n], seed), round(known * n)
    began = time.monotonic()
    found = exposed(victim, spec, [(pixels[:kept], labels[:kept]), (pixels[n:], labels[n:])], views)
    seconds = time.monotonic() - began
    scores = {part.name: _numbers(part) for part in (found.own, *found.baselines)}
    return {
        "scores": scores, "detected": found.detected, "at_least": found.at_least, "records": found.records,
        "explained": round(found.explained or 0, 4), "seconds": round(seconds, 1),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, **machine("cpu"),
    }  # fmt: skip


def _numbers(part: Any) -> dict[str, float | None]:
    rounded = {key: getattr(part, key) for key in ("auc", "tpr_at_1_fpr", "tpr_at_01_fpr")}
    return {key: None if value is None else round(value, 4) for key, value in rounded.items()}


def null(name: str, pairs: int, pack: Path) -> dict[str, Any]:
    """Return what the exposure says of images that were not trained on, over many pairs."""
    spec, single, every, alarms, more = ROWS[name], [], [], 0, 0
    for seed in range(pairs):
        pixels, labels = images(180 * seed, 6 * spec.size, pack)
        n = spec.size
        victim = victim_of(spec, pixels[:n], labels[:n], seed)
        found = exposed(victim, spec, [(pixels[n : 2 * n], labels[n : 2 * n]), (pixels[2 * n :], labels[2 * n :])])
        values = {row.record: row.p_value for row in found.per_record}
        single.append(values[0])
        every += list(values.values())
        alarms += found.detected > 0
        more += found.at_least > 0
    step = 1 / (1 + 4 * spec.size)
    smooth = np.random.default_rng(0).uniform(0, step, pairs)  # ranks are whole numbers, the uniform law is not
    return {
        "pairs": pairs, "ks_p": round(float(kstest(np.array(single) - smooth, "uniform").pvalue), 4),
        "alarms": alarms, "at_least_alarms": more, "mean_p": round(float(np.mean(every)), 4),
        "below_1_percent": round(float((np.array(every) <= 0.01).mean()), 4),
        "below_5_percent": round(float((np.array(every) <= 0.05).mean()), 4), **machine("cpu"),
    }  # fmt: skip


def main(words: Sequence[str] | None = None) -> None:
    """Measure the rows that were asked for, and add them to the results file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"any of {list(ROWS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--known", type=float, default=1.0, help="share of the training images that is given")
    parser.add_argument("--pairs", type=int, default=50, help="of rows that begin with null-")
    parser.add_argument("--data-pack", type=Path, default=SHARED)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the results file as Markdown")
    asked = parser.parse_args(words)
    for name in asked.rows:
        for seed in [0] if name.startswith("null-") else asked.seeds:
            about = {"row": name, "seed": seed, "views": asked.views, "known": asked.known}
            with exact_numerics():
                if name.startswith("null-"):
                    found = about | null(name, asked.pairs, asked.data_pack)
                else:
                    found = about | measure(name, seed, asked.data_pack, asked.views, asked.known)
            old = [row for row in load(asked.results) if any(row[key] != value for key, value in about.items())]
            asked.results.write_text(json.dumps([*old, found], indent=1) + "\n")
            print(json.dumps(found), flush=True)
    if asked.table:
        print(table(load(asked.results)))


HEAD = ("row", "seed", "views", "known", "AUC", "at 1 % FPR", "at 0.1 %", "loss: AUC, 1 %", "fall of the loss: 1 %",
        "cosine: 1 %", "detected", "at least", "explained", "time", "memory")  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Return the power of results as Markdown, in the order of :data:`ROWS`."""
    lines = [HEAD, ("---",) * len(HEAD)]
    kept = [row for row in rows if "scores" in row]
    for row in sorted(kept, key=lambda row: (list(ROWS).index(row["row"]), row["known"], row["views"], row["seed"])):
        own, loss, fall, cosine = (
            row["scores"][name]
            for name in ("regression on gradients", "loss after training", "fall of the loss", "cosine with the change")
        )
        lines.append((
            row["row"], str(row["seed"]), str(row["views"]), f"{row['known']:.0%}", _said(own["auc"]),
            f"**{_said(own['tpr_at_1_fpr'])}**", _said(own["tpr_at_01_fpr"]),
            f"{_said(loss['auc'])}, {_said(loss['tpr_at_1_fpr'])}", _said(fall["tpr_at_1_fpr"]),
            _said(cosine["tpr_at_1_fpr"]), f"{row['detected']} of {row['records']}", str(row["at_least"]),
            _said(row["explained"]), f"{row['seconds']:.0f} s", f"{row['peak_memory_bytes'] / 2**30:.1f} GiB",
        ))  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _said(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
