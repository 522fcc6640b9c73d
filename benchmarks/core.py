"""The acceptance runs of the core on CIFAR-10: ``python -m benchmarks.core [ROW ...] [--seeds N]``.

Each row trains a victim with plain PyTorch, scans it through the installed console script, and records what came out
in ``benchmarks/results/core.json`` with hardware and versions. Seeds set the victim's initialisation and the attack's
dummies alike.
"""

import argparse
import json
import os
import platform
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

from memaudit.audit.report.model import AuditReport

from .victims import make

RESULTS = Path(__file__).parent / "results" / "core.json"
SCRIPT = Path(sysconfig.get_path("scripts")) / "memaudit"
CONV = "benchmarks/networks.py:conv"

ROWS: dict[str, tuple[str, list[str]]] = {
    "mlp, lr unknown": ("mlp", ["--epochs", "20"]),
    "conv, lr given": ("conv", ["--lr", "0.01", "--epochs", "20", "--model", CONV]),
    "conv, lr unknown": ("conv", ["--epochs", "20", "--model", CONV]),
    "resnet18, lr given": ("resnet18", ["--lr", "0.01", "--epochs", "4", "--max-iterations", "100"]),
    "resnet20, lr given": ("resnet20", ["--lr", "0.01", "--epochs", "4", "--max-iterations", "100"]),
}


def calm(**more: str) -> dict[str, str]:
    """Return the environment for a memaudit that is measured: no ``MEMAUDIT_`` variable speaks to it, and ``more``."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MEMAUDIT_")} | more


def measure(row: str, seed: int) -> dict[str, object]:
    """Run one row and return its figures."""
    victim, options = ROWS[row]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = make(victim, folder, seed)
        words = [SCRIPT, "scan", folder / "before.pt", folder / "after.safetensors", "--data", folder / "private.npz",
                 "--control", folder / "control.npz", "--normalise", spec.normalise, "--seed", str(seed),
                 "--attack", "simudy", "--out", folder / "run", "--json", *options]  # fmt: skip
        began = time.monotonic()
        command = [str(word) for word in words]
        done = subprocess.run(command, env=calm(), stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.monotonic() - began
    report = json.loads(done.stdout)
    attack, line = report["attacks"][0], AuditReport.model_validate(report).leaderboard_rows()[0]
    kept = ("ssim_mean", "ssim_max", "ssim_paper_mean", "recovered", "control_ssim_mean")
    found = {"images": line["records"], **{key: line[key] for key in kept}}
    search = [{key: point[key] for key in ("lr", "loss", "change_ratio", "chosen")} for point in report["search"]]
    return {
        "row": row, "seed": seed, "options": options, "exit_code": done.returncode, "seconds": round(seconds, 1),
        "attack_seconds": round(attack["seconds"], 1), "iterations": attack["iterations"], "loss": attack["loss"],
        "status": attack["status"], "lr": report["recipe"]["lr"]["value"], **found, "search": search,
        "peak_memory_bytes": attack["peak_memory_bytes"], "torch": report["environment"]["torch"],
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}",
    }  # fmt: skip


def main() -> None:
    """Measure the rows that were asked for, and replace their entries in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"any of {list(ROWS)}; all by default")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 to N-1")
    asked = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for row in asked.rows or ROWS:
        for seed in range(asked.seeds):
            found = measure(row, seed)
            results = [old for old in results if (old["row"], old["seed"]) != (row, seed)] + [found]
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(
                f"{row}, seed {seed}: SSIM {found['ssim_mean']:.3f}, {found['seconds']} s, lr {found['lr']:.4g}",
                flush=True,
            )


if __name__ == "__main__":
    main()
