"""Whether two versions of memaudit give the same numbers: the demo and four victims, scanned with the same seed.

``python -m benchmarks.same measure FILE [--script MEMAUDIT]`` scans them with one console script and writes every loss,
score and verdict into FILE; ``python -m benchmarks.same compare OLD NEW`` names what differs and exits with 1 if
anything does. Scans are cut to a few iterations: equal trajectories, not good pictures, are what is compared.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .core import CONV, SCRIPT, calm
from .victims import make

ROWS: dict[str, tuple[str, list[str]]] = {
    "mlp": ("mlp", ["--epochs", "20", "--max-iterations", "30"]),
    "conv": ("conv", ["--lr", "0.01", "--epochs", "20", "--model", CONV, "--max-iterations", "30"]),
    "resnet18": ("resnet18", ["--lr", "0.01", "--epochs", "4", "--max-iterations", "6"]),
    "binary": ("binary-20", ["--lr", "0.01", "--epochs", "20", "--max-iterations", "30", "--attack", "all"]),
}
DEMO = "demo"
TIMES = {"seconds", "peak_memory_bytes", "share"}
"""What differs between two runs of one version."""


def numbers(report: dict[str, Any]) -> dict[str, Any]:
    """Return what must not change: losses, scores, facts, search, plan, findings and verdict of a report."""
    results = [_result(attack) for attack in report["attacks"]]
    board = [(row["attack"], row["kind"], row["seed"], _either(row, "ssim_mean")) for row in report["leaderboard"]]
    return {
        "verdict": (report["verdict"]["status"], report["verdict"]["severity"]),
        "gates": [(gate["expression"], gate["status"]) for gate in report["verdict"]["gates"]],
        "findings": [(f["rule"], f["severity"], f["attack"], f["records"]) for f in report["findings"]],
        "recipe": {name: (fact["value"], fact["source"]) for name, fact in report["recipe"].items() if fact},
        "delta": {name: fact["value"] for name, fact in report["delta"]["facts"].items()},
        "search": [[point[key] for key in ("lr", "loss", "cosine", "chosen")] for point in report["search"]],
        "plan": [(step["attack"], step["runs"], step["start_from"]) for step in report["plan"]],
        "results": results,
        "leaderboard": board,
    }


def _result(attack: dict[str, Any]) -> dict[str, Any]:
    scores = [
        (m["sample"], m["dummy"], m["scores"].get("similarity", m["scores"].get("ssim")), m["p_value"], m["recovered"])
        for m in attack["matches"]
    ]
    metrics = attack["metrics"] or {}
    kept = ("ssim_mean", "ssim_paper_mean", "psnr_mean", "recovered", "control_ssim_mean", "detectable_ssim")
    return {
        "of": (attack["name"], attack["kind"], attack["seed"], attack["status"], attack["iterations"]),
        "loss": attack["loss"], "curve": attack["curve"], "scores": scores,
        "metrics": {name: _either(metrics, name) for name in kept},
        "influence": [dummy["influence"] for dummy in attack["reconstructions"]],
    }  # fmt: skip


def _either(part: dict[str, Any], name: str) -> Any:
    """Return a number by its name in schema 1, whether a part is of that schema or of schema 2."""
    if name in part:
        return part[name]
    if name in ("ssim_paper_mean", "psnr_mean"):
        return part.get("details_mean", {}).get(name.removesuffix("_mean"))
    return part.get(name.removesuffix("_ssim") if name == "detectable_ssim" else name.replace("ssim", "similarity"))


def measure(script: str) -> dict[str, Any]:
    """Scan every row with one console script."""
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for row, words in {DEMO: ["demo", "--out", DEMO], **dict(_scans(Path(place)))}.items():
            alone = calm(OMP_NUM_THREADS="1", PYTHONPATH="")
            done = subprocess.run([script, *words], cwd=place, env=alone, capture_output=True, text=True, check=False)
            run = Path(place) / row / "run" / "report.json"
            assert run.exists(), f"{row}: {done.stderr[-2000:]}"
            found[row] = {"exit_code": done.returncode, **numbers(json.loads(run.read_text()))}
            print(f"{row}: exit code {done.returncode}, {found[row]['verdict'][0]}", flush=True)
    return found


def _scans(place: Path) -> Iterator[tuple[str, list[str]]]:
    for row, (victim, options) in ROWS.items():
        folder = place / row
        spec = make(victim, folder)
        model = [str(Path(word).resolve()) if word == CONV else word for word in options]
        words = ["scan", folder / "before.pt", folder / "after.safetensors", "--data", folder / "private.npz",
                 "--control", folder / "control.npz", "--normalise", spec.normalise, "--out", folder / "run",
                 "--quiet", *model]  # fmt: skip
        yield row, [str(word) for word in words]


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield where two measurements differ; numbers must be equal to the last digit."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(set(old) | set(new)):
            yield from differences(old.get(name), new.get(name), f"{path}/{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{path}/{place}")
    elif old != new:
        yield f"{path}: {str(old)[:80]} became {str(new)[:80]}"


def main() -> None:
    """Measure, or compare two measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    first = verbs.add_parser("measure", help="scan and write the numbers")
    first.add_argument("file", type=Path)
    first.add_argument("--script", default=str(SCRIPT), help="the console script of the version to measure")
    second = verbs.add_parser("compare", help="compare two files")
    second.add_argument("old", type=Path)
    second.add_argument("new", type=Path)
    asked = parser.parse_args()
    if asked.verb == "measure":
        asked.file.write_text(json.dumps(measure(os.path.abspath(asked.script)), indent=1) + "\n")
        return
    found = list(differences(json.loads(asked.old.read_text()), json.loads(asked.new.read_text())))
    print("\n".join(found) or "no difference")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
