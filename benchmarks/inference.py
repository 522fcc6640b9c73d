"""What an attack loses where the recipe is not known: ``python -m benchmarks.inference [GROUP ...]``.

Victims are trained with plain torch, scanned through the installed console script, and the figures are written to
``benchmarks/results/inference.json``. The groups:

``unknown``  everything inferred, against the true recipe given (MLP, conv net, MLP trained by AdamW; 10 images)
``norm``     batch norm in train mode, with and without matching the running statistics (conv net, 3 seeds)
``size``     dummy sets 1.5 times too large and half as large as the training set (MLP, conv net)
``batch``    batch sizes 12, 20 and 32 guessed for a true 20, each with its own best learning rate (MLP, 60 images)
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

from memaudit.audit.report.model import AuditReport

from . import networks
from .core import SCRIPT, calm
from .recipes import COLOUR, PRESETS, Spec, make

RESULTS = Path(__file__).parent / "results" / "inference.json"
ONE_EACH = (1,) * 10

VICTIMS = {
    "mlp": Spec(networks.mlp, COLOUR, ONE_EACH, 20, 0.01),
    "conv": Spec(networks.conv, COLOUR, ONE_EACH, 20, 0.01),
    "mlp, AdamW": Spec(networks.mlp, COLOUR, ONE_EACH, 10, 1e-3, 0, "adamw", weight_decay=0.01),
    "conv, batch norm": Spec(networks.conv_bn, COLOUR, ONE_EACH, 10, 0.01, train_mode=True),
    "mlp, 60 images": Spec(networks.mlp, COLOUR, (6,) * 10, 5, 7e-3, 20),
}

Row = tuple[str, str, int, list[str]]
"""Victim, what is asked, seed, options."""

GROUPS: dict[str, list[Row]] = {
    "unknown": [
        ("mlp", "given", 0, ["--lr", "0.01", "--epochs", "20"]),
        ("mlp", "inferred", 0, []),
        ("conv", "given", 0, ["--lr", "0.01", "--epochs", "20"]),
        ("conv", "inferred", 0, []),
        ("mlp, AdamW", "given", 0,
         ["--optimizer", "adamw", "--lr", "1e-3", "--weight-decay", "0.01", "--epochs", "10"]),
        ("mlp, AdamW", "inferred, 100 iterations", 0, ["--max-iterations", "100"]),
    ],
    "norm": [
        ("conv, batch norm", f"gamma {gamma:g}", seed,
         ["--lr", "0.01", "--epochs", "10", "--set", f"simudy.gamma={gamma:g}"])
        for seed in range(3) for gamma in (0.0, 0.02)
    ],
    "size": [
        (victim, f"size {size}", 0, ["--lr", "0.01", "--epochs", "20", "--max-iterations", "120", "--size", str(size)])
        for victim in ("mlp", "conv") for size in (15, 5)
    ],
    "batch": [
        ("mlp, 60 images", f"batch {size}", 0,
         ["--batch-size", str(size), "--epochs", "5", "--max-iterations", "100"])
        for size in (20, 12, 32)
    ],
}  # fmt: skip


def measure(row: Row) -> dict[str, Any]:
    """Train the victim, scan it, and return the figures."""
    victim, asked, seed, options = row
    spec = VICTIMS[victim]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(victim, folder, seed, spec)
        words = [SCRIPT, "scan", folder / "before.safetensors", folder / "after.safetensors", "--data",
                 folder / "private.npz", "--control", folder / "control.npz", "--normalise", PRESETS[spec.pack][0],
                 "--attack", "simudy",
                 "--seed", seed, "--out", folder / "run", "--json", "--quiet", *options]  # fmt: skip
        if "conv" in spec.build.__name__:
            words += ["--model", f"{networks.__file__}:{spec.build.__name__}"]
        began = time.monotonic()
        command = [str(word) for word in words]
        done = subprocess.run(command, env=calm(), stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.monotonic() - began
    report = json.loads(done.stdout)
    attack = report["attacks"][0]
    line, recipe = AuditReport.model_validate(report).leaderboard_rows()[0], report["recipe"]
    return {
        "victim": victim, "asked": asked, "seed": seed, "options": options, "seconds": round(seconds, 1),
        "attack_seconds": round(attack["seconds"], 1), "iterations": attack["iterations"],
        "loss": attack["loss"], "status": attack["status"], "ssim_mean": line["ssim_mean"],
        "recovered": line["recovered"], "images": line["records"], "control_ssim_mean": line["control_ssim_mean"],
        "recipe": {key: recipe[key]["value"] for key in ("optimizer", "lr", "epochs", "batch_size", "size")},
        "insignificant": sum(dummy["insignificant"] for dummy in attack["reconstructions"]),
        "insignificant_unmatched": _apart(attack), "too_small": [x for x in report["limitations"] if "too small" in x],
        "torch": report["environment"]["torch"], "threads": report["environment"]["threads"],
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}",
    }  # fmt: skip


def _apart(attack: dict[str, Any]) -> float | None:
    """Share of dummies put on the right side: matched ones above SSIM 0.4 kept, the others set apart."""
    found = {match["dummy"] for match in attack["matches"] if match["scores"]["similarity"] >= 0.4}
    rows = [(row["dummy"] in found) != row["insignificant"] for row in attack["reconstructions"]]
    return sum(rows) / len(rows) if rows else None


def main() -> None:
    """Measure the groups that were asked for, and replace their entries in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"any of {list(GROUPS)}; all by default")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for group in parser.parse_args().groups or GROUPS:
        for row in GROUPS[group]:
            found = {"group": group, **measure(row)}
            key = (group, *row[:3])
            results = [old for old in results if (old["group"], old["victim"], old["asked"], old["seed"]) != key]
            results.append(found)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            reached = f"SSIM {found['ssim_mean']:.3f}, {found['recovered']} recovered, loss {found['loss']:.4f}"
            print(f"{row[0]}, {row[1]}, seed {row[2]}: {reached}, {found['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
