"""Does the verdict lie? ``python -m benchmarks.verdict [--scans N] [--tail]``; CIFAR-10 of the data pack.

Scans N small victims, every other one a conv net, twice each: against the images that they were trained on, and against
images that they never saw; each with 200 held-out images, with 24, and without any. ``--defended`` scans victims whose
change was published with noise of several times its size on it, or in few bits. The verdict at the default gate,
p-values and findings go into ``benchmarks/results/verdict.json``, a table and two tests of uniformity to stdout. A
finished victim is not scanned again. ``--tail`` measures how often chance passes p-values that extrapolate beyond the
comparison images.
"""

import argparse
import dataclasses
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.stats import kstest
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate

from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.report.model import AuditReport
from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.pipeline import scan
from memaudit.audit.scoring import chance as calibrate
from memaudit.audit.scoring.similarity import ssim_matrix
from memaudit.audit.tasks.alter import Defence, publish

from . import networks
from .victims import SHARED, VictimSpec, train

RESULTS = Path(__file__).parent / "results" / "verdict.json"
CONTROLS = (200, 24, 0)


def mlp() -> nn.Module:
    """A narrow perceptron: its first layer's change is exactly solvable."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 200), nn.ReLU(), nn.Linear(200, 10))


KINDS = {
    "mlp": (VictimSpec(mlp, 8, 20), ()),
    "conv": (VictimSpec(networks.conv, 4, 20), ("--model", "benchmarks/networks.py:conv")),
}


DEFENCES = {
    "mlp": (Defence("noise", 8.0), Defence("noise", 12.0)),
    "conv": (Defence("noise", 6.0), Defence("noise", 10.0)),
}
"""What is done to the change of defended victims, so that hardly anything is recovered."""


def write(folder: Path, kind: str, seed: int, strangers: bool, defence: Defence | None = None) -> VictimSpec:
    """Train a victim on images of its own, and write what it is scanned with; no two victims share an image."""
    spec, _ = KINDS[kind]
    pack = np.load(SHARED / "cifar10-train.npz")
    mine = np.arange(seed * 240, (seed + 1) * 240)
    n = spec.size
    trained, other, control = mine[:n], mine[n : 2 * n], mine[2 * n : 2 * n + max(CONTROLS)]
    np.savez(folder / "data.npz", **_part(pack, other if strangers else trained))
    for count in filter(None, CONTROLS):
        np.savez(folder / f"control-{count}.npz", **_part(pack, control[:count]))
    images = torch.from_numpy(pack["images"][trained]).permute(0, 3, 1, 2).float() / 255
    states = train(spec, images, torch.from_numpy(pack["labels"][trained]), seed)
    for side, state in zip(("before", "after"), states, strict=True):
        save_file(state, folder / f"{side}.safetensors")
    if defence is not None:
        pair = read_pair(folder / "before.safetensors", folder / "after.safetensors")
        publish(pair, defence, seed, folder / "after.safetensors")
    return spec


def _part(pack: Any, rows: NDArray[np.int64]) -> dict[str, Any]:
    return {"images": pack["images"][rows], "labels": pack["labels"][rows], "names": pack["names"]}


def measure(
    kind: str, seed: int, strangers: bool, controls: Sequence[int], defence: Defence | None = None
) -> list[dict[str, Any]]:
    """Scan one victim with each control set; the attack's state is found again by the second and third scan."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        spec = write(folder, kind, seed, strangers, defence)
        plain = ScanRequest(
            folder / "before.safetensors", folder / "after.safetensors", data=folder / "data.npz", lr=spec.lr,
            epochs=spec.epochs, batch_size=spec.size, normalise=spec.normalise, seed=seed, max_iterations=100,
            optimizer="sgd" if defence else None,
            model=KINDS[kind][1][1] if KINDS[kind][1] else "auto", out=folder / "run", evidence="none",
        )  # fmt: skip
        rows = []
        for count in controls:
            control = folder / f"control-{count}.npz" if count else None
            report = scan(dataclasses.replace(plain, control=control))
            about = {
                "kind": kind,
                "seed": seed,
                "strangers": strangers,
                "defence": str(defence or ""),
                "control": count,
            }
            rows.append(about | figures(report))
        return rows


def figures(report: AuditReport) -> dict[str, Any]:
    """Return what a verdict rests on; p-values are those of the result that ranks first."""
    best = next(a for a in report.attacks if report.leaderboard and a.key == report.leaderboard[0].key)
    metrics = best.metrics
    return {
        "verdict": report.verdict.status, "severity": report.verdict.severity,
        "explained": report.check and report.check.explained, "recipe": report.check and report.check.recipe,
        "mock": report.power and [report.power.status, report.power.recovered, report.power.records],
        "rules": [finding.rule for finding in report.findings], "attack": best.name, "status": best.status,
        "ssim_mean": metrics and metrics.similarity_mean, "ssim_max": metrics and metrics.similarity_max,
        "recovered": metrics and metrics.recovered, "detectable_ssim": metrics and metrics.detectable,
        "p_value": metrics and metrics.p_value, "p_values": [match.p_value for match in best.matches],
    }  # fmt: skip


def uniformity(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Test p-values of strangers for uniformity: one image of each scan, all images, and each scan as a whole.

    Only the first and the last are independent; images of one scan share its reconstructions.
    """
    null = [row for row in rows if row["strangers"] and row["control"] == max(CONTROLS) and not row["defence"]]
    values = {
        "one image a scan": [row["p_values"][0] for row in null],
        "all images": [p for row in null for p in row["p_values"]],
        "each scan as a whole": [row["p_value"] for row in null],
    }
    return {name: round(float(kstest(p, "uniform").pvalue), 4) for name, p in values.items()}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the counts of verdicts as a Markdown table."""
    lines = [
        "| images given as --data | held-out images | scans | fail | inconclusive | pass |",
        "|---|---|---|---|---|---|",
    ]
    cases = [(strangers, control, "") for strangers in (True, False) for control in CONTROLS]
    cases += [(False, max(CONTROLS), name) for name in sorted({row["defence"] for row in rows} - {""})]
    for strangers, control, defence in cases:
        asked = (strangers, control, defence)
        group = [r["verdict"] for r in rows if (r["strangers"], r["control"], r["defence"]) == asked]
        if not group:
            continue
        counts = " | ".join(str(group.count(status)) for status in ("fail", "inconclusive", "pass"))
        what = "never seen by the victim" if strangers else "its training images"
        what += f", change defended by {defence}" if defence else ""
        lines.append(f"| {what} | {control or 'none'} | {len(group)} | {counts} |")
    return lines


def tail(repeats: int = 25) -> list[dict[str, Any]]:
    """Measure how often chance falls under a p-value, as a multiple of that p-value; at most 1 is right.

    Twenty CIFAR images, sharp or blurred, stand for reconstructions; comparison and test images are others.
    """
    rng = np.random.default_rng(0)
    pool = torch.from_numpy(np.load(SHARED / "cifar10-train.npz")["images"][:6000]).permute(0, 3, 1, 2).float() / 255
    rows = []
    for side, blur in ((32, False), (32, True), (12, False)):
        images = pool if side == 32 else interpolate(pool, size=side, mode="area")
        best = [_best(images, blur, rng) for _ in range(8)]
        for count in (10, 20, 50, 100, 400):
            p = np.concatenate([_chance(values, count, rng) for values in best for _ in range(repeats)])
            least = [calibrate.detectable(values[:count], 20) for values in best]
            ratios = {f"{level:g}": round(float((p <= level).mean() / level), 2) for level in (1e-1, 1e-2, 1e-3, 1e-4)}
            rows.append({"side": side, "blurred": blur, "comparisons": count, "times_expected": ratios,
                         "detectable_ssim": round(float(np.mean(least)), 3)})  # fmt: skip
    return rows


def _best(images: torch.Tensor, blur: bool, rng: np.random.Generator) -> NDArray[np.float64]:
    order = torch.from_numpy(rng.permutation(len(images)))
    guesses = images[order[:20]]
    guesses = avg_pool2d(guesses, 5, 1, 2, count_include_pad=False) if blur else guesses
    return ssim_matrix(images[order[20:2520]], guesses, "audit").amax(1).numpy()


def _chance(values: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    shuffled = rng.permutation(values)
    return calibrate.p_values(shuffled[count : count + 1000], shuffled[:count])


def _plain(seed: int, controls: Sequence[int]) -> list[dict[str, Any]]:
    kind = list(KINDS)[seed % 2]
    return [row for strangers in (True, False) for row in measure(kind, seed, strangers, controls)]


def _defended(seed: int, controls: Sequence[int]) -> list[dict[str, Any]]:
    kind = list(KINDS)[seed % 2]
    return measure(kind, seed, False, controls[:1], DEFENCES[kind][seed // 2 % len(DEFENCES[kind])])


def main() -> None:
    """Measure, write the results, and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=40, help="victims; each is scanned against both kinds of images")
    parser.add_argument(
        "--defended", action="store_true", help="scan defended victims instead, the auditor's optimiser given"
    )
    parser.add_argument("--controls", type=int, nargs="+", default=list(CONTROLS), help="held-out images of each scan")
    parser.add_argument("--tail", action="store_true", help="measure the extrapolation instead")
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    found = json.loads(asked.output.read_text()) if asked.output.exists() else {}
    found |= {"torch": torch.__version__, "hardware": f"{os.cpu_count()} cores, {platform.machine()}"}
    if asked.tail:
        found["tail"] = tail()
        print(*found["tail"], sep="\n")
    else:
        rows = [row for row in found.get("scans", []) if "defence" in row]  # of this version's verdict
        done = {(row["seed"], bool(row["defence"])) for row in rows}
        for seed in range(asked.scans):
            if (seed, asked.defended) in done:
                continue
            rows += _defended(seed, asked.controls) if asked.defended else _plain(seed, asked.controls)
            seen = [row for row in rows if (row["seed"], bool(row["defence"])) == (seed, asked.defended)]
            print(seed, [(row["defence"] or row["strangers"], row["verdict"]) for row in seen], flush=True)
            asked.output.write_text(json.dumps(found | {"scans": rows}, indent=1) + "\n")
        found |= {"scans": rows, "uniformity": uniformity(rows)}
        print(*table(rows), found["uniformity"], sep="\n")
    asked.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
