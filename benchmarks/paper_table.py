"""What the SimuDy paper prints, and the table of docs/benchmarks.md with our own numbers beside it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MARKERS = "<!-- paper -->\n", "<!-- end paper -->"
WEIGHTS = "resnet18-cifarstem-fp16.safetensors"


@dataclass(frozen=True)
class Printed:
    """What the paper prints for one number of images: SSIM (``None`` where it prints none), hours and MB of SimuDy."""

    simudy: float | None
    twostep: float | None
    onestep: float | None
    hours: float
    megabytes: int


PAPER = {
    20: Printed(0.3140, None, 0.0476, 1.06, 4334),
    30: Printed(None, None, None, 3.32, 6852),
    40: Printed(None, None, None, 4.67, 8170),
    50: Printed(0.1982, 0.0774, 0.0297, 6.07, 10518),
    60: Printed(0.1998, 0.0423, 0.0285, 8.46, 12668),
    70: Printed(0.1800, 0.0424, 0.0286, 11.37, 14002),
    80: Printed(0.2165, 0.0462, 0.0253, 12.77, 15728),
    90: Printed(0.1289, 0.0442, 0.0249, 12.92, 16814),
    100: Printed(0.0948, 0.0476, 0.0267, 13.70, 19016),
    120: Printed(0.1197, 0.0482, 0.0239, 15.39, 22272),
}
"""Figures 1, 19, 20 and 23 to 40, and Table 3 (one RTX 4090)."""

COLUMNS = ("simudy", "loo", "twostep", "buzaglo", "onestep")
"""The attacks of a row."""


def load(results: Path) -> list[dict[str, Any]]:
    """Return all rows measured so far."""
    return json.loads(results.read_text()) if results.exists() else []


HEAD = ("n", "SimuDy: paper", "simudy", "Loo: paper", "twostep", "loo", "Buzaglo: paper", "onestep", "buzaglo")


def table(rows: list[dict[str, Any]]) -> str:
    """Return the paper's numbers and ours as Markdown; ours are means over the seeds."""
    kinds = [*((n, WEIGHTS) for n in PAPER), *((row["n"], row["weights"]) for row in rows)]
    lines = [HEAD, ("---",) * len(HEAD), *(_line(*kind, rows) for kind in dict.fromkeys(kinds))]
    machines = sorted({f"{row['hardware']}, torch {row['torch']}" for row in rows})
    told = f"{len(rows)} runs on {'; '.join(machines)}."
    none = "No row has been measured yet, for lack of a GPU: all numbers are the paper's."
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", told if rows else none, ""])


def _line(n: int, weights: str, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    mine = [row for row in rows if (row["n"], row["weights"]) == (n, weights)]
    ours = {name: _ours([row for row in mine if row["attack"] == name]) for name in COLUMNS}
    paper = PAPER.get(n)
    theirs = {name: _number(paper and getattr(paper, name), 4) for name in ("simudy", "twostep", "onestep")}
    if paper:
        theirs["simudy"] += f"; {paper.hours:.2f} h, {paper.megabytes} MB"
    label = str(n) if weights == WEIGHTS else f"{n}, {weights}"
    return (label, theirs["simudy"], ours["simudy"], theirs["twostep"], ours["twostep"], ours["loo"],
            theirs["onestep"], ours["onestep"], ours["buzaglo"])  # fmt: skip


def _ours(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    paper, audit, strangers = (_number(_mean(rows, name), 3) for name in ("ssim_paper", "ssim", "ssim_strangers"))
    hours, megabytes = (_mean(rows, "seconds") or 0) / 3600, max(row["peak_memory_bytes"] for row in rows) / 1e6
    return f"{paper} / {audit} / {strangers}; {hours:.2f} h, {megabytes:.0f} MB"


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    values = [row[name] for row in rows if row[name] is not None]
    return sum(values) / len(values) if values else None


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def render(results: Path, docs: Path) -> None:
    """Write the table between its markers in ``docs``."""
    text = docs.read_text()
    begin, end = text.index(MARKERS[0]) + len(MARKERS[0]), text.index(MARKERS[1])
    docs.write_text(text[:begin] + table(load(results)) + text[end:])
