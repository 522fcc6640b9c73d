"""What a GPU is for, in pieces of at most eight minutes: ``benchmarks/gpu.sh [PIECE ...]`` on a bare machine.

A piece is ``engine-NETWORK``, one iteration beside the published loop with n = 20 and S = 8 (:mod:`benchmarks.engine`),
``cover``, that attack on all rows of the SimuDy paper's table (:mod:`benchmarks.cover`), or ``paper-N``, one row with
the other attacks (:mod:`benchmarks.paper`). Each is a process of its own. A row that is not finished in one piece
continues in the next. After every piece the results are written: ``engine-gpu.json``, ``cover.json``, ``paper.json``,
and ``gpu.json``, which says on what hardware each piece ran, and how it ended.

Exit codes: 0 all is measured, 1 a piece failed, 2 bad input, 75 work is left (call it again), 130 interrupted.
"""

import argparse
import importlib.util
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import memaudit

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
NEEDED = ("torch", "torchvision", "numpy", "scipy", "safetensors")
NETWORKS = ("conv", "mlp", "resnet18")
LIMIT, CLOSING = 480, 45
"""Seconds that a piece may take; and those of them in which a row stops, saves, and is scored."""
PATIENCE = 20
"""Seconds that an interrupted piece has to save what it did."""
DONE, FAILED, BAD, LEFT, INTERRUPTED = 0, 1, 2, 75, 130
Status = Literal["done", "left", "cut", "failed"]
"""``cut`` is a piece that did not end in its time, and may continue."""


def pieces(asked: argparse.Namespace) -> dict[str, list[str]]:
    """Return the command of every piece there is, in the order in which they run."""
    if asked.toy:
        engine = ["--case", "conv", "2", "2", "--repeats", "1"]
        return {
            "engine-conv": _engine(asked, engine),
            "paper-4": ["benchmarks.paper", "--toy", "4", *_row(asked)],
        }
    found = {f"engine-{name}": _engine(asked, ["--case", name, "20", "8"]) for name in NETWORKS}
    from .paper_table import PAPER

    rows = {f"paper-{n}": ["benchmarks.paper", str(n), "--data-pack", str(asked.data), *_row(asked)] for n in PAPER}
    words = [*(f"n{n}" for n in PAPER), "--data-pack", str(asked.data), "--device", asked.device]
    cover = {"cover": ["benchmarks.cover", *words, "--results", str(asked.out / "cover.json")]}
    return found | cover | rows


def _engine(asked: argparse.Namespace, words: Sequence[str]) -> list[str]:
    results = str(asked.out / "engine-gpu.json")
    return ["benchmarks.engine", *words, "--device", asked.device, "--results", results, "--no-page"]


def _row(asked: argparse.Namespace) -> list[str]:
    return ["--device", asked.device, "--out", str(asked.state), "--results", str(asked.out / "paper.json")]


@dataclass
class Kit:
    """Pieces run one after the other.

    Attributes:
        commands: Words of each piece, a module of this package first.
        file: Where their outcomes are written.
        hardware: What they run on.
        deadline: :func:`time.monotonic` value from which no piece starts.
        told: The outcome of each piece that started, in order.
    """

    commands: Mapping[str, Sequence[str]]
    file: Path
    hardware: Mapping[str, object]
    deadline: float = math.inf
    limit: float = LIMIT
    told: list[dict[str, object]] = field(default_factory=list)

    def run(self, names: Sequence[str]) -> int:
        """Run pieces as far as the time allows; return the exit code."""
        waiting = list(names)
        self._write()
        while waiting and (left := self.deadline - time.monotonic()) > CLOSING:
            began, status = time.monotonic(), self._piece(waiting[0], min(self.limit, left))
            if (
                status == "cut"
                and self.told
                and (self.told[-1]["piece"], self.told[-1]["status"]) == (waiting[0], "cut")
            ):
                status = "failed"  # it would be cut for ever
            self.told.append({"piece": waiting[0], "status": status, "seconds": round(time.monotonic() - began, 1)})
            self._write()
            print(f"{waiting[0]}: {status}", flush=True)
            if status in ("done", "failed"):
                waiting.pop(0)
        if any(piece["status"] == "failed" for piece in self.told):
            return FAILED
        return LEFT if waiting else DONE

    def _piece(self, name: str, seconds: float) -> Status:
        """Run one piece, and interrupt it when its time is over; a row keeps what it did."""
        words = list(self.commands[name])
        if words[0] == "benchmarks.paper":
            words += ["--budget", f"{max(seconds - CLOSING, 0):.0f}"]
        process = subprocess.Popen([sys.executable, "-m", *words])
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"{name} is interrupted after {seconds:.0f} s", file=sys.stderr)
            return "failed" if _end(process) == -signal.SIGKILL else "cut"
        except KeyboardInterrupt:
            _end(process)
            raise
        return "done" if code == DONE else "left" if code == LEFT else "failed"

    def _write(self) -> None:
        beside = self.file.with_suffix(".tmp")
        told = {"hardware": self.hardware, "memaudit": memaudit.__version__, "pieces": self.told}
        beside.write_text(json.dumps(told, indent=1) + "\n")
        beside.replace(self.file)


def _end(process: "subprocess.Popen[bytes]") -> int:
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def chosen(words: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the pieces that were asked for: by name, or all of a kind by what its names begin with."""
    found: list[str] = []
    for word in words or ("engine", "paper"):
        named = [name for name in known if word in (name, name.partition("-")[0])]
        if not named:
            raise SystemExit(_bad(f"There is no piece {word!r}: choose from {', '.join(known)}, engine, paper."))
        found += [name for name in named if name not in found]
    return found


def _bad(text: str) -> int:
    print(f"gpu: {text}", file=sys.stderr)
    return BAD


def problem(asked: argparse.Namespace) -> str:
    """Return why nothing can be measured here; empty where it can."""
    if Path(memaudit.__file__).resolve().parent != ROOT:
        return f"memaudit would be that of {memaudit.__file__}: call benchmarks/gpu.sh, which names this checkout."
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} cannot be imported: name a folder of wheels in WHEELS."
    import torch

    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        return "There is no CUDA device here: try it with --toy, or on the CPU with --device cpu."
    return ""


def _unpacked(asked: argparse.Namespace, names: Sequence[str]) -> str:
    """Return which file of the data pack a row would miss; empty where there is none."""
    from .paper_table import WEIGHTS

    files = (asked.data / "cifar10-test.npz", asked.data / "weights" / WEIGHTS)
    rows = not asked.toy and any(name.startswith("paper") for name in names)
    return next(
        (f"{file} is not there: copy it from the data pack." for file in files if rows and not file.exists()), ""
    )


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a call."""
    parser = argparse.ArgumentParser(
        "benchmarks/gpu.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "pieces", nargs="*", metavar="PIECE", help="all by default; engine and paper stand for all of a kind"
    )
    parser.add_argument("--data", type=Path, default=ROOT / "memaudit-runs" / "pack", help="copy of the data pack")
    parser.add_argument("--out", type=Path, help="folder of the results; benchmarks/results by default")
    parser.add_argument(
        "--state", type=Path, default=ROOT / "memaudit-runs" / "gpu", help="where unfinished rows are kept"
    )
    parser.add_argument("--budget", type=float, default=math.inf, help="no piece starts after this many seconds")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--toy", action="store_true", help="tiny, on the CPU, results beside the states: in a minute")
    asked = parser.parse_args(words)
    asked.device = "cpu" if asked.toy else asked.device
    asked.out = asked.out or (asked.state if asked.toy else RESULTS)
    return asked


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    began, asked = time.monotonic(), parsed(words)
    if why := problem(asked):
        return _bad(why)
    commands = pieces(asked)
    names = chosen(asked.pieces, list(commands))
    if why := _unpacked(asked, names):
        return _bad(why)
    import torch

    from .engine import hardware

    for folder in (asked.out, asked.state):
        folder.mkdir(parents=True, exist_ok=True)
    for name in ("paper.json", "cover.json"):
        rows, known = asked.out / name, RESULTS / name
        if known.exists() and not rows.exists() and not asked.toy:
            shutil.copy(known, rows)  # what is measured already is not run again, and what comes back is complete
    kit = Kit(commands, asked.out / "gpu.json", hardware(torch.device(asked.device)), began + asked.budget)
    return kit.run(names)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
