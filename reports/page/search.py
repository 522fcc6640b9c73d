"""The search for the recipe, as the page describes and draws it (SimuDy, Fig. 3)."""

import math
from collections.abc import Callable
from itertools import compress
from typing import Any

from markupsafe import Markup

from ...audit.report.facts import SearchPoint
from ...audit.words import number, plain
from .charts import Axis, Series, legend, line_chart, spans_decades


def search_charts(search: list[SearchPoint]) -> list[Markup]:
    """Draw the loss and the size of the simulated change over the candidate learning rates, each with its legend."""
    best = chosen(search)
    said = f"Chosen: {described(best)}." if best else "None was chosen."

    def draw(value: Callable[[SearchPoint], float | None], name: str, key: str, **options: Any) -> Markup:
        series = curves(search, value)
        found = line_chart(
            series,
            Axis("learning rate", log=True),
            Axis(name, log=spans_decades([value(point) for point in search])),
            key=key,
            description=said,
            chosen=(best.lr, value(best)) if best else None,
            **options,
        )
        return found and found + legend(series)

    loss = draw(
        lambda point: point.loss,
        "early loss",
        "search-loss",
        title="Early loss over the learning rate; lower is better",
    )
    ratio = draw(
        lambda point: point.change_ratio,
        "simulated / real change",
        "search-ratio",
        title="Size of the simulated change of the weights over the real one; 1 is right",
        guide=(1.0, "same size"),
    )
    return [chart for chart in (loss, ratio) if chart]


def curves(search: list[SearchPoint], value: Callable[[SearchPoint], float | None]) -> list[Series]:
    """Return a look for each setting, as in Fig. 3 of the SimuDy paper, and for each of its rounds a line.

    Losses compare after equally many steps only: a point that was stopped earlier than others of its round is drawn,
    but interrupts their line.
    """
    found = []
    for look, (name, points) in enumerate(groups(search).items()):
        for rung, steps in sorted({(point.rung, point.iterations) for point in points}):
            peers = sorted((point for point in points if point.rung == rung), key=lambda point: point.lr)
            line = [(point.lr, value(point) if point.iterations == steps else None) for point in peers]
            found.append(Series(line, name, look, rung))
    return sorted(found, key=lambda series: series.weight)


def groups(search: list[SearchPoint]) -> dict[str, list[SearchPoint]]:
    """Return the candidates by their setting apart from the learning rate; the names tell what differs."""
    by: dict[tuple[str, int | None, int | None], list[SearchPoint]] = {}
    for point in sorted(search, key=lambda point: (point.optimizer, point.batch_size or 0, point.epochs or 0)):
        by.setdefault((point.optimizer, point.batch_size, point.epochs), []).append(point)
    differs = [len(set(values)) > 1 for values in zip(*by, strict=True)]
    return {
        ", ".join(compress((optimizer, f"batch {plain(batch)}", f"epochs {plain(epochs)}"), differs)): points
        for (optimizer, batch, epochs), points in by.items()
    }


def chosen(search: list[SearchPoint]) -> SearchPoint | None:
    """Return the chosen candidate, as its last round left it."""
    return max((point for point in search if point.chosen), key=lambda point: point.rung, default=None)


def described(point: SearchPoint) -> str:
    """Return a candidate in words: ``learning rate 0.02, sgd, batch size 20, epochs 40``."""
    batch = [f"batch size {point.batch_size}"] if point.batch_size is not None else []
    epochs = [f"epochs {point.epochs}"] if point.epochs is not None else []
    return ", ".join([f"learning rate {number(point.lr)}", point.optimizer, *batch, *epochs])


def rounds(search: list[SearchPoint]) -> str:
    """Return what distinguishes the rounds of a search; empty for a single one."""
    steps = {rung: max(p.iterations for p in search if p.rung == rung) for rung in sorted({p.rung for p in search})}
    if len(steps) < 2:
        return ""
    said = ", then ".join(f"{count}" for count in steps.values())
    return f"Points of a later round (larger, heavier line) had more attack steps: {said}. Compare within a round only."


def candidates(search: list[SearchPoint]) -> list[SearchPoint]:
    """Return the last round first, and the best of each round first."""
    return sorted(search, key=lambda p: (-p.rung, math.inf if p.loss is None else p.loss, p.lr))
