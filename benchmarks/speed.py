"""How long a bare scan takes, beside an earlier version: ``python -m benchmarks.speed ROW ... [--earlier FOLDER]``.

A row is a victim that both versions scan one after the other, in one run on one thread: the two files, the training
images and held-out ones, and nothing of the recipe. ``FOLDER`` is where the earlier version was put by
``pip install --no-deps --target FOLDER CHECKOUT``. Recorded in ``benchmarks/results/speed.json``: seconds of a clock
and of the processor, the SSIM of the best attack, and where the time of the present version went, by the
stages of its log. ``--table`` prints the file as Markdown.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from .core import calm
from .victims import make

RESULTS = Path(__file__).parent / "results" / "speed.json"
NETWORKS = Path(__file__).with_name("networks.py")
MAIN = "import sys; from memaudit.audit.cli{} import main; sys.argv[0] = 'memaudit'; main()"
ROWS: dict[str, tuple[str, list[str]]] = {
    "demo": ("", []),
    "mlp": ("mlp", []),
    "mlp-100": ("mlp-100", []),
    "binary-20": ("binary-20", []),
    "conv-20": ("conv-20", ["--model", f"{NETWORKS}:conv"]),
    "resnet18": ("resnet18", []),
    "resnet18-20": ("resnet18-20", ["--set", "cover.iterations=100"]),
}
"""Victims, and what a scan must be told to build the network."""


def prepared(row: str, folder: Path, seed: int) -> list[str]:
    """Train a victim into a folder, and return the words of its scan."""
    victim, told = ROWS[row]
    if not victim:
        command = [sys.executable, "-c", MAIN.format(".main"), "demo", "--out", str(folder)]
        subprocess.run(command, env=calm(), capture_output=True, check=False)  # its exit code is the demo's verdict
        sides = ("before.safetensors", "after.safetensors")
        return [
            *(str(folder / side) for side in sides),
            "--data",
            str(folder / "private"),
            "--control",
            str(folder / "public"),
        ]
    spec = make(victim, folder, seed)
    files = [str(folder / name) for name in ("before.pt", "after.safetensors")]
    data = ["--data", str(folder / "private.npz"), "--control", str(folder / "control.npz")]
    return [*files, *data, "--normalise", spec.normalise, *told]


def scanned(words: list[str], out: Path, earlier: Path | None, seed: int) -> dict[str, Any]:
    """Scan in a process of its own and return what it took and found."""
    alone = calm(OMP_NUM_THREADS="1", PYTHONPATH=str(earlier or ""))
    entry = MAIN.format("" if earlier and (earlier / "memaudit/audit/cli.py").exists() else ".main")
    command = [sys.executable, "-c", entry, "scan", *words, "--seed", str(seed), "--out", str(out), "--quiet"]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=alone, capture_output=True, text=True, check=False, cwd=out.parent)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    if done.returncode not in (0, 1, 3):
        raise SystemExit(done.stderr)
    report = json.loads((out / "report.json").read_text())
    found = {line["attack"]: _ssim(line) for line in report["leaderboard"] if _ssim(line) is not None}
    return {
        "seconds": round(seconds, 1),
        "processor": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "verdict": report["verdict"]["status"], "ssim": found, "stages": stages(out / "events.jsonl"),
    }  # fmt: skip


def _ssim(line: dict[str, Any]) -> float | None:
    return line.get("ssim_mean", line.get("similarity_mean"))


def stages(log: Path) -> dict[str, float]:
    """Return the seconds between what the log tells, added up by stage; nothing for a log without times."""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    if not events or "time" not in events[0]:
        return {}
    spent: dict[str, float] = {}
    for now, following in pairwise(events):
        name = f"{now['stage']} {now['message']}" if now["stage"] == "attack" else now["stage"]
        spent[name] = round(spent.get(name, 0.0) + following["time"] - now["time"], 1)
    return spent


def measure(row: str, seed: int, earlier: Path | None) -> dict[str, Any]:
    """Scan one victim with both versions."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        words = prepared(row, folder / "victim", seed)
        was = scanned(words, folder / "earlier", earlier, seed) if earlier else None
        now = scanned(words, folder / "now", None, seed)
    ratio = round(now["processor"] / was["processor"], 3) if was else None
    import torch

    return {
        "row": row, "seed": seed, "ratio": ratio, "now": now, "earlier": was,
        "torch": torch.__version__, "threads": 1, "hardware": f"{os.cpu_count()} cores, {platform.machine()}",
    }  # fmt: skip


HEAD = (
    "row",
    "seed",
    "earlier: processor, clock",
    "now",
    "ratio",
    "SSIM earlier",
    "SSIM now",
    "where the time goes now",
)


def table(rows: list[dict[str, Any]]) -> str:
    """Return results as Markdown, in the order of :data:`ROWS`."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for row in sorted(rows, key=lambda row: (list(ROWS).index(row["row"]), row["seed"])):
        was, now = row["earlier"] or {}, row["now"]
        longest = sorted(now["stages"].items(), key=lambda stage: -stage[1])[:5]
        lines.append((
            row["row"], str(row["seed"]), _time(was), _time(now), str(row["ratio"] or ""), _best(was), _best(now),
            ", ".join(f"{name} {seconds:.0f} s" for name, seconds in longest if seconds >= 0.5),
        ))  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _time(found: dict[str, Any]) -> str:
    return f"{found['processor']:.0f} s, {found['seconds']:.0f} s" if found else ""


def _best(found: dict[str, Any]) -> str:
    if not found.get("ssim"):
        return ""
    name = max(found["ssim"], key=lambda name: found["ssim"][name])
    return f"{found['ssim'][name]:.3f} ({name})"


def main() -> None:
    """Measure the rows that were asked for, and replace their entries in the results file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"any of {list(ROWS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--earlier", type=Path, help="where an earlier version is installed")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the results file as Markdown")
    asked = parser.parse_args()
    known = json.loads(asked.results.read_text()) if asked.results.exists() else []
    if asked.table:
        print(table(known))
    for row in asked.rows:
        for seed in asked.seeds:
            found = measure(row, seed, asked.earlier)
            known = [old for old in known if (old["row"], old["seed"]) != (row, seed)] + [found]
            asked.results.write_text(json.dumps(known, indent=1) + "\n")
            print(row, seed, found["ratio"], found["now"]["stages"], flush=True)


if __name__ == "__main__":
    main()
