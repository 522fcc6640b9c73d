"""One image from one step of SGD: ``python -m benchmarks.inversion [ROW ...] [--seeds N]``.

Each row is a gradient-inversion attack on a network of the kind that its authors used. A victim takes one step on one
CIFAR-10 test image in plain PyTorch; the installed console script scans the pair. Seeds set the victim's
initialisation, the image and the attack's dummies alike. Results: ``benchmarks/results/inversion.json``.

The learning rates are 0.1 and 1, because float32 keeps of a parameter near 0.5 no change below 3e-8: of a step with
learning rate 1e-4 most of the gradient is rounded away.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from memaudit.audit.report.model import AuditReport

from . import networks
from .core import SCRIPT, calm
from .victims import CIFAR, SHARED

RESULTS = Path(__file__).parent / "results" / "inversion.json"
PLAIN = ((0.0,), (1.0,))


@dataclass(frozen=True)
class Row:
    """A network, how it takes its step, and further options of the scan."""

    attack: str
    build: Callable[[], nn.Module]
    lr: float
    normalise: str = "none"
    batch_norm: str = "eval"
    options: tuple[str, ...] = ()


ROWS = {
    "dlg, LeNet": Row("dlg", networks.lenet, 1.0),
    "idlg, LeNet": Row("idlg", networks.lenet, 1.0),
    "gion, LeNet": Row("gion", networks.lenet, 1.0),
    "inverting_gradients, conv": Row("inverting_gradients", networks.conv, 0.1, "cifar10"),
    "gradinversion, conv": Row("gradinversion", networks.conv, 0.1, "cifar10"),
    "gradinversion, conv_bn": Row("gradinversion", networks.conv_bn, 0.1, "cifar10", "train"),
    "inverting_gradients, ConvNet": Row(
        "inverting_gradients", networks.convnet, 1.0, "cifar10", options=("--set", "inverting_gradients.alpha=3e-4")
    ),
}


def make(row: Row, folder: Path, seed: int) -> None:
    """Take one step on test image number ``seed``; write both checkpoints, the image, and ten others as control."""
    pack = np.load(SHARED / "cifar10-test.npz")
    for name, rows in {"private": [seed], "control": list(range(100, 110))}.items():
        images, labels = pack["images"][rows], pack["labels"][rows]
        np.savez(folder / f"{name}.npz", images=images, labels=labels, names=pack["names"])
    mean, std = (torch.tensor(part).view(-1, 1, 1) for part in (CIFAR if row.normalise == "cifar10" else PLAIN))
    x = (torch.from_numpy(pack["images"][[seed]]).permute(0, 3, 1, 2).float() / 255 - mean) / std
    torch.manual_seed(seed)
    network = row.build().eval()
    torch.save(network.state_dict(), folder / "before.pt")
    for layer in network.modules():
        layer.training = isinstance(layer, _BatchNorm) and row.batch_norm == "train"
    optimizer = torch.optim.SGD(network.parameters(), lr=row.lr)
    nn.functional.cross_entropy(network(x), torch.from_numpy(pack["labels"][[seed]]).long()).backward()
    optimizer.step()
    torch.save(network.state_dict(), folder / "after.pt")


def measure(name: str, seed: int) -> dict[str, object]:
    """Run one row and return its figures."""
    row = ROWS[name]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(row, folder, seed)
        words = [SCRIPT, "scan", folder / "before.pt", folder / "after.pt", "--data", folder / "private.npz",
                 "--control", folder / "control.npz", "--model", f"benchmarks/networks.py:{row.build.__name__}",
                 "--normalise", row.normalise, "--batch-norm", row.batch_norm, "--attack", row.attack,
                 "--lr", str(row.lr), "--epochs", "1", "--seed", str(seed), "--out", folder / "run", "--json",
                 *row.options]  # fmt: skip
        began = time.monotonic()
        command = [str(word) for word in words]
        done = subprocess.run(command, env=calm(), stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.monotonic() - began
    report = json.loads(done.stdout)
    attack = report["attacks"][0]
    line = AuditReport.model_validate(report).leaderboard_rows()[0]
    return {
        "row": name, "seed": seed, "psnr": round(line["psnr_mean"], 2), "ssim": round(line["ssim_mean"], 4),
        "control_ssim": round(line["control_ssim_mean"], 4), "recovered": line["recovered"],
        "status": attack["status"], "loss": attack["loss"], "iterations": attack["iterations"], "lr": row.lr,
        "seconds": round(seconds, 1), "attack_seconds": round(attack["seconds"], 1), "exit_code": done.returncode,
        "options": list(row.options), "torch": report["environment"]["torch"],
        "hardware": f"{os.environ.get('OMP_NUM_THREADS', os.cpu_count())} of {os.cpu_count()} cores, "
        f"{platform.machine()}",
    }  # fmt: skip


def main() -> None:
    """Measure the rows that were asked for, and replace their entries in the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"any of {list(ROWS)}; all by default")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 to N-1")
    asked = parser.parse_args()
    for name in asked.rows or ROWS:
        for seed in range(asked.seeds):
            found = measure(name, seed)
            old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
            kept = [entry for entry in old if (entry["row"], entry["seed"]) != (name, seed)]
            RESULTS.write_text(json.dumps([*kept, found], indent=1) + "\n")
            print(
                f"{name}, seed {seed}: PSNR {found['psnr']} dB, SSIM {found['ssim']}, {found['seconds']} s", flush=True
            )


if __name__ == "__main__":
    main()
