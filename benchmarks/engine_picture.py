"""The engine's benchmark drawn: ``python -m benchmarks.engine_picture`` reads its results, writes ``docs/engine.png``.

Two panels per column: seconds per iteration as a multiple of the published loop's, and peak memory in MB; over
simulated steps S for each network, then over images n and over parameters P. Matplotlib, because it is what people who
read benchmarks know how to read and how to change.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

PICTURE = Path(__file__).parent.parent / "docs" / "engine.png"
AXES = {"steps": "simulated steps S", "samples": "images n", "parameters": "parameters P"}
STYLES = {
    "published": ("#555555", "o", "--"),
    "full": ("#0072b2", "s", "-"),
    "stepwise": ("#d55e00", "^", "-"),
    "forward": ("#009e73", "D", "-"),
    "segmented": ("#cc79a7", "v", "-"),
}
"""Colour (Okabe and Ito's, told apart by all), marker and line of each engine."""

Row = Mapping[str, Any]


def draw(rows: Sequence[Row], picture: Path) -> None:
    """Draw all results that form a line: two points or more of one network."""
    columns = [(title, over, found) for title, over, found in _columns(rows) if len({row[over] for row in found}) > 1]
    if not columns:
        return
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=(2.7 * len(columns), 5.2), layout="constrained")
    panels = figure.subplots(2, len(columns), squeeze=False)
    for place, (title, over, found) in enumerate(columns):
        _lines(panels[0][place], found, over, "ratio", 1.0)
        _lines(panels[1][place], found, over, "peak_bytes", 1e6)
        panels[0][place].set_title(title)
        panels[1][place].set_xlabel(AXES[over])
    panels[0][0].set_ylabel("time, published loop = 1")
    panels[1][0].set_ylabel("peak memory, MB")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(STYLES), frameon=False)
    figure.savefig(picture, dpi=110, metadata={"Software": None})


def _columns(rows: Sequence[Row]) -> list[tuple[str, str, list[Row]]]:
    """Return title, what it runs over, and rows of each column of the picture."""
    found = []
    for name in dict.fromkeys(row["network"] for row in rows if row["network"] != "shallow"):
        own = [row for row in rows if row["network"] == name and row["samples"] == 4]
        found.append((f"{name}, {own[0]['parameters'] / 1e6:.1f} M, n = 4", "steps", own))
    few = [row for row in rows if row["steps"] == 4]
    found.append(("conv, S = 4", "samples", [row for row in few if row["network"] == "conv"]))
    return [*found, ("MLPs, n = 4, S = 4", "parameters", [row for row in few if row["network"] == "shallow"])]


def _lines(panel: Axes, rows: Sequence[Row], over: str, what: str, unit: float) -> None:
    for name, (colour, marker, line) in STYLES.items():
        points = sorted((row[over], row[what] / unit) for row in rows if row["engine"] == name)
        x, y = [place for place, _ in points], [value for _, value in points]
        panel.plot(x, y, line, color=colour, marker=marker, markersize=4, label=name)
    panel.set_xscale("log")
    ticks = sorted({row[over] for row in rows})
    panel.set_xticks(ticks, [f"{tick / 1e6:.1f} M" if over == "parameters" else str(tick) for tick in ticks])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_ylim(bottom=0)
    panel.grid(alpha=0.25)


if __name__ == "__main__":
    draw(json.loads((Path(__file__).parent / "results" / "engine.json").read_text())["rows"], PICTURE)
