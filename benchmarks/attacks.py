"""The acceptance table of the attacks on CIFAR-10: ``python -m benchmarks.attacks [ROW ...] [--seeds N] [--attack A]``.

Each row trains a victim with plain PyTorch and scans it through the installed console script, by default with
those attacks that the planner chooses. The leaderboard is recorded in ``benchmarks/results/attacks.json``.
Seeds set the victim's initialisation and the attack's dummies alike.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from memaudit.audit.report.model import AuditReport

from .core import SCRIPT, calm
from .victims import VICTIMS, make

RESULTS = Path(__file__).parent / "results" / "attacks.json"
KEY = ("row", "seed", "asked", "strangers")
KEPT = ("attack", "kind", "seed", "status", "ssim_mean", "ssim_max", "ssim_paper_mean", "psnr_mean", "recovered",
        "control_ssim_mean", "control_recovered", "loss", "seconds", "peak_memory_bytes")  # fmt: skip


def options(name: str) -> list[str]:
    """What the scan is told about a victim: its recipe, but neither labels nor the order of its batches."""
    spec = VICTIMS[name]
    told = {"--lr": spec.lr, "--epochs": spec.epochs, "--batch-size": spec.batch_size or spec.size,
            "--momentum": spec.momentum, "--weight-decay": spec.weight_decay}  # fmt: skip
    words = [str(word) for pair in told.items() for word in pair]
    model = {"conv-20": "conv", "conv-4-augmented": "conv", "wide-20": "conv_wide"}.get(name)
    return [*words, "--model", f"benchmarks/networks.py:{model}"] if model else words


def estrange(folder: Path, size: int) -> None:
    """Put images that the victim never saw in place of its training images: a negative control."""
    pack = dict(np.load(folder / "control.npz"))
    for name, rows in (("private", slice(size)), ("control", slice(size, None))):
        np.savez(folder / f"{name}.npz", images=pack["images"][rows], labels=pack["labels"][rows], names=pack["names"])


def measure(name: str, seed: int, asked: list[str], strangers: bool = False) -> dict[str, Any]:
    """Scan one victim and return its figures; with ``strangers`` against images that it never saw."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        spec = make(name, folder, seed)
        if strangers:
            estrange(folder, spec.size)
        words = [SCRIPT, "scan", folder / "before.pt", folder / "after.safetensors", "--data", folder / "private.npz",
                 "--control", folder / "control.npz", "--normalise", spec.normalise, "--seed", seed,
                 "--out", folder / "run", "--json", "--quiet", *options(name), *asked]  # fmt: skip
        began = time.monotonic()
        command = [str(word) for word in words]
        done = subprocess.run(command, env=calm(), stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.monotonic() - began
    report = json.loads(done.stdout)
    board = AuditReport.model_validate(report).leaderboard_rows()
    return {
        "row": name, "seed": seed, "asked": asked, "strangers": strangers,
        "exit_code": done.returncode, "seconds": round(seconds, 1),
        "plan": [{key: step[key] for key in ("attack", "runs", "reason")} for step in report["plan"]],
        "leaderboard": [{key: row.get(key) for key in KEPT} for row in board],
        "torch": report["environment"]["torch"], "threads": report["environment"]["threads"],
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}",
    }  # fmt: skip


HEAD = ("row", "asked", "seeds", "attack: SSIM of each seed, images recovered in all", "PSNR", "best attack", "scan")


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown: a line for each row and what was asked, over its seeds; attacks by mean SSIM."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for found in sorted(results, key=lambda found: (list(VICTIMS).index(found["row"]), found["asked"], found["seed"])):
        about = " ".join(found["asked"]).replace("--set ", "").replace("--", "") or "the planner's choice"
        groups.setdefault((found["row"], about + (", strangers" if found["strangers"] else "")), []).append(found)
    lines = [HEAD, ("---",) * len(HEAD), *(_line(*about, runs) for about, runs in groups.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(row: str, about: str, runs: list[dict[str, Any]]) -> tuple[str, ...]:
    ranked = sorted(_by_attack(runs).items(), key=lambda item: -_mean(item[1], "ssim_mean"))
    told = []
    for name, lines in ranked:
        scores = " ".join(f"{line['ssim_mean'] or 0:.3f}" for line in lines)
        told.append(f"{name} {scores}, {sum(line['recovered'] or 0 for line in lines)}")
    best = ranked[0][1]
    seeds = ", ".join(str(found["seed"]) for found in runs)
    psnr, seconds, scan = _mean(best, "psnr_mean"), _mean(best, "seconds"), _mean(runs, "seconds")
    return row, about, seeds, "; ".join(told), f"{psnr:.1f}", f"{seconds:.0f} s", f"{scan:.0f} s"


def _by_attack(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for found in runs:
        for line in found["leaderboard"]:
            groups.setdefault(line["attack"], []).append(line)
    return groups


def _mean(lines: list[dict[str, Any]], key: str) -> float:
    return sum(line[key] or 0.0 for line in lines) / len(lines)


def main() -> None:
    """Measure the rows that were asked for, and replace their entries in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"any of {list(VICTIMS)}")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 to N-1")
    parser.add_argument("--attack", action="append", default=[], help="attacks in place of the planner's choice")
    parser.add_argument("--set", action="append", default=[], help="attack options, as for memaudit scan")
    parser.add_argument("--views", type=int, default=1, help="versions of each image, as for memaudit scan")
    parser.add_argument("--table", action="store_true", help="print the results file as Markdown")
    parser.add_argument("--strangers", action="store_true", help="compare with images that the victim never saw")
    asked = parser.parse_args()
    words = [word for name in asked.attack for word in ("--attack", name)]
    words += [word for option in asked.set for word in ("--set", option)]
    words += ["--views", str(asked.views)] if asked.views > 1 else []
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    if asked.table:
        print(table(results))
    for row in asked.rows:
        for seed in range(asked.seeds):
            found = measure(row, seed, words, asked.strangers)
            same = [found[key] for key in KEY]
            results = [old for old in results if [old[key] for key in KEY] != same] + [found]
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            for line in found["leaderboard"]:
                ssim = "-" if line["ssim_mean"] is None else f"{line['ssim_mean']:.3f}"
                told = f"{line['attack']} {ssim}, {line['recovered']} recovered, {line['status']}"
                print(f"{row}, seed {seed}: {told}, {line['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
