"""The picture of the page: ours beside the paper, read from the same records; matplotlib."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..paper_table import PAPER
from ..questions import BATCHES, RATES
from . import printed
from .page import lines
from .records import Group, Records

THEIRS, OURS, AUDIT, THIRD, GREEN = "#555555", "#0072b2", "#56b4e9", "#d55e00", "#009e73"
"""Okabe and Ito's colours."""

Found = dict[int, list[dict[str, Any]]]
Columns = tuple[list[float], list[float]]


def data(records: Records) -> dict[str, Any]:
    """Return every number of ours that is drawn."""
    return {
        "resnet": {n: [_point(group) for group in _plain(records, n)] for n in PAPER},
        "others": [(line.printed.item, line.attack, line.group.mean("ssim_paper"), line.group.mean("ssim"))
                   for line in _others(records) if line.group and line.printed],
        "linearity": [(group.first["row"], group.first["epochs"], group.mean("value"))
                      for group in records.groups("linearity")],
        "rates": {size: [_rate(records, size, lr) for lr in RATES] for size in BATCHES},
    }  # fmt: skip


def digest(records: Records) -> str:
    """Return a digest of the numbers of ours; the picture carries it, so that a test can tell a stale one."""
    return hashlib.sha256(json.dumps(data(records), sort_keys=True).encode()).hexdigest()


def _plain(records: Records, n: int) -> list[Group]:
    """Return rows without options but the number of updates."""
    return [group for group in records.cover(f"n{n}") if set(group.first["settings"]) <= {"iterations"}]


def _others(records: Records) -> list[Any]:
    resnet = {id(found) for part in printed.RESNET.values() for found in part.values()}
    return [line for line in lines(records) if id(line.printed) not in resnet]


def _point(group: Group) -> dict[str, Any]:
    row = group.first
    return {"gpu": "H100" in row["hardware"], "paper": group.mean("ssim_paper"), "audit": group.mean("ssim"),
            "hours": (group.mean("seconds") or 0) / 3600,
            "memory": max(group.values("peak_memory_bytes")) / 1e6}  # fmt: skip


def _rate(records: Records, size: int, lr: float) -> tuple[float | None, float | None]:
    group = records.one("questions", group="rate", asked=f"batch {size}, rate {lr:g}")
    return (group.mean("loss_50"), group.mean("ssim_paper")) if group else (None, None)


def draw(records: Records, picture: Path) -> None:
    """Draw all panels into one file."""
    found = data(records)
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=(13.5, 8), layout="constrained")
    panels = figure.subplots(2, 3)
    _quality(panels[0][0], found["resnet"])
    _resource(
        panels[0][1],
        found["resnet"],
        "hours",
        {n: row.hours for n, row in PAPER.items()},
        "time, hours",
        "Tab. 3: time",
    )
    memory = {n: float(row.megabytes) for n, row in PAPER.items()}
    _resource(panels[0][2], found["resnet"], "memory", memory, "peak memory, MB", "Tab. 3: memory")
    _dumbbells(panels[1][0], found["others"])
    _linearity(panels[1][1], found["linearity"])
    _rates(panels[1][2], found["rates"])
    figure.savefig(picture, dpi=110, metadata={"Software": None, "Description": digest(records)})


def _quality(panel: Axes, found: Found) -> None:
    for attack, (style, marker) in {"simudy": ("-", "o"), "twostep": (":", "v"), "onestep": (":", "^")}.items():
        theirs = printed.RESNET[attack]
        values = [part.value for part in theirs.values()]
        label = f"paper: {printed.NAMES[attack]}"
        panel.plot(list(theirs), values, style, color=THEIRS, marker=marker, markersize=4, label=label)
    for name, scoring, colour, fill in (
        ("paper", "paper's scoring", OURS, "full"),
        ("audit", "audit mode", AUDIT, "none"),
    ):
        for gpu, marker in ((True, "s"), (False, "D")):
            label = f"ours, {scoring}, {'H100' if gpu else 'CPU'}"
            panel.plot(*_ours(found, name, gpu), marker, color=colour, fillstyle=fill, label=label)
    missing = [n for n, parts in found.items() if not parts]
    if missing:  # an empty line that is not clipped takes the whole layout with it
        panel.plot(missing, [-0.03] * len(missing), "x", color=THIRD, clip_on=False, label="ours: not run")
    panel.set(title="ResNet-18, CIFAR-10 (Figs. 1, 5, 19, 20, 23 to 40)", xlabel="images n", ylabel="mean SSIM")
    panel.set(ylim=(-0.05, 1.35), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    panel.legend(frameon=False, fontsize=7, ncols=2, loc="upper right")
    panel.grid(alpha=0.25)


def _ours(found: Found, name: str, gpu: bool) -> Columns:
    return _columns([(n, part[name]) for n, parts in found.items() for part in parts if part["gpu"] is gpu])


def _columns(points: list[tuple[float, float]]) -> Columns:
    return [place for place, _ in points], [value for _, value in points]


def _resource(panel: Axes, found: Found, name: str, theirs: dict[int, float], unit: str, title: str) -> None:
    panel.plot(list(theirs), list(theirs.values()), "-o", color=THEIRS, markersize=4, label="paper: SimuDy, RTX 4090")
    panel.plot(*_ours(found, name, True), "s", color=OURS, label="ours: cover, a shared H100")
    label = "ours: cover, a shared CPU, 300 or 600 updates"
    panel.plot(*_ours(found, name, False), "D", color=OURS, fillstyle="none", label=label)
    top = max(theirs.values())
    panel.set(title=title, xlabel="images n", ylabel=unit, yscale="log", ylim=(None, 8 * top))
    panel.legend(frameon=False, fontsize=7, loc="upper left")
    panel.grid(alpha=0.25)


def _dumbbells(panel: Axes, found: list[tuple[str, str, float, float]]) -> None:
    theirs = {part.item: part for part in vars(printed).values() if isinstance(part, printed.Printed)}
    for place, (item, _, paper, audit) in enumerate(reversed(found)):
        first = place == 0
        panel.plot([theirs[item].value, paper], [place, place], "-", color="#cccccc", zorder=0)
        panel.plot(theirs[item].value, place, "o", color=THEIRS, label="paper" if first else None)
        panel.plot(paper, place, "s", color=OURS, label="ours, paper's scoring" if first else None)
        panel.plot(audit, place, "s", color=AUDIT, fillstyle="none", label="ours, audit mode" if first else None)
    names = [f"{item}: {theirs[item].attack}\n{attack.partition(',')[0].strip('`')}" for item, attack, *_ in found]
    panel.set_yticks(range(len(found)), names[::-1], fontsize=7)
    panel.set(title="MLPs (Figs. 4, 18, 21), SVHN (Fig. 13)", xlabel="mean SSIM", xlim=(-0.05, 1.05))
    panel.set_ylim(-0.5, len(found) + 0.6)
    panel.legend(frameon=False, fontsize=7, ncols=3, loc="upper center")
    panel.grid(alpha=0.25, axis="x")


def _linearity(panel: Axes, found: list[tuple[str, int, float]]) -> None:
    places = {name: place for place, name in enumerate(printed.LINEARITY)}
    theirs = [(float(places[name]), value) for name, value in printed.LINEARITY.items()]
    panel.plot(*_columns(theirs), "o", color=THEIRS, label="paper (epochs, start of the ResNet not said)")
    for epochs, fill in ((20, "full"), (50, "none")):
        points = sorted((float(places[name]), value) for name, count, value in found if count == epochs)
        label = f"ours, {epochs} epochs"
        panel.plot(*_columns(points), "s", color=OURS, fillstyle=fill, label=label)
    names = [name.replace("resnet18, ", "ResNet-18, ").replace("mlp", "MLP") for name in places]
    panel.set_xticks(range(len(names)), names, fontsize=7, rotation=25, ha="right")
    panel.set(title="Tab. 1: linearity of training", ylabel="M_lin", ylim=(0.3, 1.02))
    panel.legend(frameon=False, fontsize=7, loc="lower left")
    panel.grid(alpha=0.25)


def _rates(panel: Axes, found: dict[int, list[tuple[float | None, float | None]]]) -> None:
    for (size, values), colour in zip(found.items(), (OURS, THIRD, GREEN), strict=True):
        for which, style, label in ((0, "--", "loss after 50 updates"), (1, "-", "SSIM")):
            y = [math.nan if value[which] is None else value[which] for value in values]
            panel.plot(RATES, y, style, color=colour, marker="os"[which], markersize=4, label=f"B = {size}: {label}")
    panel.axvline(7e-3, color="#cccccc", zorder=0)
    panel.set(title="Figs. 3, 7: MLP, 60 images, B = 20 (ours alone)", xlabel="learning rate guessed (line: true)")
    panel.set(ylabel="SSIM in the paper's scoring; loss", xscale="log", xlim=(8e-4, 0.125), ylim=(0, 1.3))
    panel.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    panel.legend(frameon=False, fontsize=7, ncols=2, loc="upper center")
    panel.grid(alpha=0.25)
