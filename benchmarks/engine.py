"""What one iteration costs, ours beside the published loop: ``python -m benchmarks.engine [--networks NAME ...]``.

The published loop is SimuDy's as its authors' code does it (Tian et al., ICLR 2025, Algorithm 1): parameters and
gradients as one flat vector, the graph of all steps, and after each step a norm that the host waits for. All engines
get the same victim and dummies in one process and return the same gradient. Each is timed in turn; the median counts,
on the CPU of the process's own seconds. Peaks are bytes of living tensors: :class:`.footprint.Footprint` on the CPU,
torch's own count on a CUDA device. Results: ``benchmarks/results/engine.json``; a table in ``docs/benchmarks.md``,
and beside it ``engine.png``.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cosine_similarity, cross_entropy

from memaudit.attacks.contract.params import cosine_distance
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.priors import total_variation
from memaudit.attacks.simulation.adjoints import ADJOINTS
from memaudit.attacks.simulation.dynamics import simulate
from memaudit.attacks.simulation.footprint import Footprint
from memaudit.audit.machine.memory import PeakMemory
from memaudit.audit.machine.numerics import exact_numerics

from . import networks

RESULTS = Path(__file__).parent / "results" / "engine.json"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
RATE, ALPHA = 0.01, 2e-3
CLIP, CLIPPED = 20.0, 5.0
"""A gradient longer than the first is shortened to the second in the published loop; here none is that long."""


@dataclass(frozen=True)
class Case:
    """One victim with dummies: what all engines work on.

    Attributes:
        network: Name of a function in :mod:`benchmarks.networks`.
        samples: Dummies n, all in one batch.
        steps: Simulated steps S.
        width: Hidden width of an MLP in place of the network's own; 0 for that.
    """

    network: str
    samples: int = 4
    steps: int = 4
    width: int = 0


def build(case: Case, device: torch.device) -> tuple[Victim, Tensor, Tensor]:
    """Return the victim, dummies (n, 3, 32, 32) and labels (n,)."""
    torch.manual_seed(0)
    module = networks.shallow(case.width) if case.width else getattr(networks, case.network)()
    module = module.eval().to(device)
    theta0 = {name: value.detach() for name, value in module.named_parameters()}
    thetaf = {name: value + 1e-3 * torch.randn_like(value) for name, value in theta0.items()}
    victim = Victim(module, theta0, thetaf, dict(module.named_buffers()), (3, 32, 32), 10, Images())
    x = 0.5 * torch.randn(case.samples, 3, 32, 32).to(device)
    return victim, x.requires_grad_(), (torch.arange(case.samples) % 10).to(device)


def published(victim: Victim, x: Tensor, labels: Tensor, steps: int) -> Tensor:
    """Return the gradient with respect to ``x`` as the published loop computes it."""
    shapes = {name: value.shape for name, value in victim.theta0.items()}
    sizes = [value.numel() for value in victim.theta0.values()]
    theta = torch.cat([value.flatten() for value in victim.theta0.values()]).requires_grad_()
    total = torch.zeros_like(theta)
    for _ in range(steps):
        parts = torch.split(theta, sizes)
        params = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        logits = functional_call(victim.module, {**victim.buffers, **params}, (x,))
        (flat,) = torch.autograd.grad(cross_entropy(logits, labels), theta, create_graph=True)
        length = flat.norm()
        if length.item() > CLIP:
            flat = flat * CLIPPED / length
        theta, total = theta - RATE * flat, total + flat
    target = torch.cat([-value.flatten() for value in victim.delta.values()])
    loss = 1 - cosine_similarity(total, target, dim=0) + ALPHA * total_variation(x)
    return torch.autograd.grad(loss, x)[0]


def ours(name: str) -> Callable[[Victim, Tensor, Tensor, int], Tensor]:
    """Return our engine with the adjoint of that name."""

    def gradient(victim: Victim, x: Tensor, labels: Tensor, steps: int) -> Tensor:
        recipe, plan = Recipe(len(x), RATE, len(x), steps), torch.arange(len(x)).repeat(steps, 1)
        final = simulate(victim, recipe, x, labels, plan, adjoint=ADJOINTS[name], clip=CLIP)
        loss = cosine_distance(victim.change(final), victim.delta) + ALPHA * total_variation(x)
        return torch.autograd.grad(loss, x)[0]

    return gradient


ENGINES: Mapping[str, Callable[[Victim, Tensor, Tensor, int], Tensor]] = {
    "published": published,
    **{name: ours(name) for name in ("full", "stepwise", "forward", "segmented")},
}


def measure(case: Case, names: Sequence[str], device: torch.device, repeats: int) -> list[dict[str, object]]:
    """Return one row for each engine: seconds and ratio to the published loop, peak bytes, error of the gradient."""
    victim, x, labels = build(case, device)
    own = sum(value.nbytes for value in victim.theta0.values())
    found: dict[str, Tensor] = {}
    times: dict[str, list[float]] = {name: [] for name in names}
    for name in list(names) * repeats:
        began = _clock(device)
        found[name] = ENGINES[name](victim, x, labels, case.steps)
        times[name].append(_clock(device) - began)
    middle = {name: statistics.median(values) for name, values in times.items()}
    rows: list[dict[str, object]] = []
    for name in names:
        error = float((found[name] - found["published"]).norm() / found["published"].norm())
        rows.append({
            "network": case.network, "parameters": own // 4, "samples": case.samples, "steps": case.steps,
            "engine": name, "seconds": round(middle[name], 4), "ratio": round(middle[name] / middle["published"], 3),
            "peak_bytes": _peak(partial(ENGINES[name], victim, x, labels, case.steps), device),
            "trajectory_bytes": case.steps * own, "error": error, "repeats": repeats,
        })  # fmt: skip
    return rows


def _clock(device: torch.device) -> float:
    """Return seconds: of the process on the CPU, which other processes disturb least; else of the wall."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def _peak(work: Callable[[], object], device: torch.device) -> int:
    if device.type == "cuda":
        before, meter = torch.cuda.memory_allocated(device), PeakMemory(device)
        work()
        return meter.bytes() - before
    with Footprint() as footprint:
        work()
    return footprint.peak


def cases(names: Sequence[str], steps: Sequence[int], samples: Sequence[int], widths: Sequence[int]) -> list[Case]:
    """Return every network with growing S and with growing n, and MLPs of growing P."""
    found = [Case(name, steps=count) for name in names for count in steps]
    found += [Case(name, samples=size) for name in names for size in samples]
    return found + [Case("shallow", width=width) for width in widths]


def hardware(device: torch.device) -> dict[str, object]:
    """Return what the numbers depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": name, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__,
        "python": platform.python_version(),
    }  # fmt: skip


def check_machine(results: Path, where: Mapping[str, object]) -> None:
    """Refuse to put rows among those of another device, whose name the file would then carry."""
    there = json.loads(results.read_text())["hardware"]["device"] if results.exists() else where["device"]
    if there != where["device"]:
        raise SystemExit(
            f"{results} was measured on {there}, not on {where['device']}: name another file by --results."
        )


def table(rows: Sequence[Mapping[str, Any]], where: Mapping[str, object]) -> str:
    """Return the results as Markdown, one line per case; an engine that was not measured has empty cells."""
    heads = " | ".join(f"{name} | MB" for name in ENGINES)
    lines = [f"| network | P | n | S | {heads} | stepwise beyond trajectory, MB |"]
    lines.append("|" + "---|" * (5 + 2 * len(ENGINES)))
    cases: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        cases.setdefault(_key(row)[:4], {})[row["engine"]] = row
    for (network, parameters, samples, steps), found in cases.items():
        cells = [_cells(found.get(name)) for name in ENGINES]
        beyond = (found["stepwise"]["peak_bytes"] - found["stepwise"]["trajectory_bytes"]) / 1e6
        first = f"{network} | {parameters / 1e6:.2f} M | {samples} | {steps}"
        lines.append(f"| {first} | {' | '.join(cells)} | {beyond:.1f} |")
    told = ", ".join(f"{name} {value}" for name, value in where.items())
    return "\n".join([*lines, "", f"Measured with: {told}."])


def _cells(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return " | "
    pace = f"{row['seconds']:.3g} s" if row["engine"] == "published" else f"{row['ratio']:.2f}"
    return f"{pace} | {row['peak_bytes'] / 1e6:.1f}"


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("network", "parameters", "samples", "steps", "engine"))


def write(rows: Sequence[Mapping[str, Any]], where: Mapping[str, object], results: Path, page: Path | None) -> None:
    """Write rows into the results, in place of older ones of the same case; all of them into the page, and drawn."""
    old = json.loads(results.read_text())["rows"] if results.exists() else []
    every = {_key(row): row for row in (*old, *rows)}
    merged = [every[key] for key in sorted(every, key=lambda key: (key[0], key[1], key[3], key[2]))]
    results.write_text(json.dumps({"hardware": where, "rows": merged}, indent=1) + "\n")
    if page:
        from .engine_picture import draw  # matplotlib, which a bare machine may lack

        fill(page, "engine", table(merged, where))
        draw(merged, page.with_name("engine.png"))


def fill(page: Path, name: str, text: str) -> None:
    """Put a text between the marks of that name, in place of what is there."""
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    head, rest = page.read_text().split(begin, 1)
    page.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


def main(words: Sequence[str] | None = None) -> None:
    """Measure what was asked for, and write results and tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=["mlp", "conv", "resnet18"], help="of benchmarks.networks")
    parser.add_argument("--steps", nargs="*", type=int, default=[4, 8, 16, 32], help="simulated steps S")
    parser.add_argument("--samples", nargs="*", type=int, default=[1, 16], help="dummies n beside 4, with S = 4")
    parser.add_argument("--widths", nargs="*", type=int, default=[100, 1000, 4000], help="of MLPs, for growing P")
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), help="published and stepwise among them")
    parser.add_argument("--case", nargs=3, action="append", metavar=("NETWORK", "N", "S"), help="only this; repeatable")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--no-page", dest="page", action="store_const", const=None, help="write the results alone")
    asked = parser.parse_args(words)
    wanted = [Case(name, int(samples), int(steps)) for name, samples, steps in asked.case or ()]
    where = hardware(asked.device)
    check_machine(asked.results, where)
    with exact_numerics():
        for case in wanted or cases(asked.networks, asked.steps, asked.samples, asked.widths):
            rows = measure(case, asked.engines, asked.device, asked.repeats)
            for row in rows:
                told = (row[name] for name in ("network", "samples", "steps", "engine", "ratio", "peak_bytes"))
                print(*told, flush=True)
            write(rows, where, asked.results, asked.page)


if __name__ == "__main__":
    main()
