"""What `patches` reads off vision transformers: ``python -m benchmarks.vit [ROW ...]``.

A row is a training of torchvision's VisionTransformer from a random start (the head too) on the first photographs of a
pack, in plain PyTorch, full batches, no augmentation. The attack knows that it was SGD and how many images there were.
Images are paired with reconstructions by SSIM; beside it stands what as many images reach that the victim never saw. A
finished row goes to ``benchmarks/results/vit.json`` and is not run again; ``--table`` prints the file as Markdown.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from memaudit.attacks.contract.attack import Attack, Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.attacks.patches import Patches
from memaudit.attacks.sme import SME
from memaudit.audit.machine.clock import Deadline
from memaudit.audit.machine.numerics import exact_numerics
from memaudit.audit.run.drive import Budget, drive
from memaudit.audit.scoring.image import Image
from memaudit.audit.scoring.pairing import assign

from .paper import machine
from .paper_table import load
from .victims import SHARED

RESULTS = Path(__file__).parent / "results" / "vit.json"
IMAGES = Images(Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
PACKS = {32: ("cifar10-test", 1), 64: ("tiny-imagenet", 10), 224: ("imagenet224", 1)}
"""By the side of an image: the pack, and every how many images one is taken (of one class each)."""
LIMIT = 600.0
"""Seconds that one attack has."""


@dataclass(frozen=True)
class Row:
    """One training and one attack: ``side`` and ``patch`` in pixels, ``attack`` without options or with some."""

    n: int
    side: int = 32
    patch: int = 4
    dim: int = 192
    depth: int = 4
    steps: int = 20
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    attack: Attack = field(default_factory=Patches)


ROWS = {
    "n1-step": Row(1, steps=1),
    "n1": Row(1),
    "n1-momentum-decay": Row(1, momentum=0.9, weight_decay=5e-4),
    "n1-dim96": Row(1, dim=96),
    "n1-dim64": Row(1, dim=64),
    "n1-dim48": Row(1, dim=48),
    "n1-adamw": Row(1, optimizer="adamw"),
    "n1-vit-ti": Row(1, 224, 16, 192, 12, 10),
    "n1-vit-s": Row(1, 224, 16, 384, 12, 10),
    "n1-vit-b": Row(1, 224, 16, 768, 12, 10),
    **{f"n{n}-64{'-step' * (steps == 1)}": Row(n, 64, 16, steps=steps) for n in (2, 4) for steps in (1, 20)},
    "n4-64-step-no-cover": Row(4, 64, 16, steps=1, attack=Patches(cover=0.0)),
    "n4-64-no-cover": Row(4, 64, 16, attack=Patches(cover=0.0)),
    "n2-64-step-no-polish": Row(2, 64, 16, steps=1, attack=Patches(polish=0)),
    "n2-64-step-no-prior": Row(2, 64, 16, steps=1, attack=Patches(alpha=0.0)),
    "n2-64-step-sme": Row(2, 64, 16, steps=1, attack=SME(search=False)),
    "n2-32-step": Row(2, steps=1),
}


def network(row: Row, classes: int = 10) -> nn.Module:
    """Return a transformer with random weights; torchvision's own head of zeros sends no signals back at first."""
    from torchvision.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    model = VisionTransformer(row.side, row.patch, row.depth, row.dim // 32, row.dim, 4 * row.dim, num_classes=classes)
    nn.init.trunc_normal_(model.heads.head.weight, std=0.02)
    return model.eval()


def subject(row: Row, pack: Path) -> tuple[Victim, Tensor, Tensor]:
    """Return a victim, its images, and as many that it never saw, pixels in [0, 1]."""
    name, every = PACKS[row.side]
    pixels = torch.from_numpy(np.load(pack / f"{name}.npz")["images"][::every][: 2 * row.n])
    pixels = pixels.permute(0, 3, 1, 2).float() / 255
    own, model = pixels[: row.n], network(row)
    x, labels = IMAGES.encode(own), torch.arange(row.n)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    if row.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    else:
        optimizer = torch.optim.SGD(model.parameters(), 0.01, row.momentum, weight_decay=row.weight_decay)
    for _ in range(row.steps):
        optimizer.zero_grad()
        cross_entropy(model(x), labels).backward()
        optimizer.step()
    after = {name: value.detach().clone() for name, value in model.named_parameters()}
    return Victim(model, before, after, {}, tuple(x.shape[1:]), 10, IMAGES), own, pixels[row.n :]


def measure(name: str, pack: Path) -> dict[str, Any]:
    """Run one row and score it. The kind of optimiser is said to be SGD, whatever it was."""
    row, kind = ROWS[name], Image(IMAGES)
    with exact_numerics():
        victim, own, others = subject(row, pack)
        recipe = Recipe(row.n, 0.01, row.n, row.steps)
        began = time.monotonic()
        try:
            outcome = drive(row.attack, victim, recipe, 0, budget=Budget(deadline=Deadline.after(LIMIT)))
        except Unsupported as error:
            return {"refused": error.message}
        seconds = time.monotonic() - began
    found = outcome.reconstruction
    assert found is not None
    scores, strange = (_scores(kind, truth, found.records) for truth in (own, others))
    return {
        "ssim": [round(score, 4) for score in scores], "ssim_strangers": round(max(strange), 4),
        "status": outcome.status, "loss": float(f"{found.loss:.3g}"), "doubt": found.doubt,
        "steps": outcome.steps, "seconds": round(seconds, 1),
        "peak_memory_mb": round(outcome.peak_bytes / 1e6), **machine("cpu"),
    }  # fmt: skip


def _scores(kind: Image, truth: Tensor, found: Tensor) -> list[float]:
    matrix = kind.matrix(truth, found)
    return [float(matrix[sample, guess]) for sample, guess in assign(matrix.numpy(), "hungarian")]


HEAD = ("row", "SSIM", "strangers", "ended", "left or cosine", "seconds", "peak memory")


def table(rows: list[dict[str, Any]]) -> str:
    """Return results as Markdown, in the order of :data:`ROWS`."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for row in sorted(rows, key=lambda row: list(ROWS).index(row["row"])):
        lines.append((
            f"`{row['row']}`", ", ".join(f"{score:.3f}" for score in row["ssim"]), f"{row['ssim_strangers']:.2f}",
            row["status"], f"{row['loss']:.2g}", f"{row['seconds']:.1f}", f"{row['peak_memory_mb']} MB",
        ))  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure the rows that were asked for, and add them to the results file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"any of {list(ROWS)}")
    parser.add_argument("--data-pack", type=Path, default=SHARED, help="folder of the data pack")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the results file as Markdown")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    known = load(asked.results) if asked.results.exists() else []
    if asked.table:
        print(table(known))
    for name in asked.rows:
        if any(old["row"] == name for old in known):
            print(f"{name}: measured before", flush=True)
            continue
        known.append({"row": name} | measure(name, asked.data_pack))
        asked.results.write_text(json.dumps(known, indent=1) + "\n")
        print(name, known[-1], flush=True)


if __name__ == "__main__":
    main()
