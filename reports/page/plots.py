"""The curves of a report: losses of the attacks, and what defences do."""

from collections.abc import Callable
from typing import NamedTuple

from markupsafe import Markup

from ...audit.report.results import AttackResult
from ...audit.report.verdict import DefencePoint
from ...audit.words import fixed, number
from .charts import Axis, Series, legend, line_chart, spans_decades


class Curve(NamedTuple):
    """A chart with what its heading says."""

    title: str
    drawn: Markup


def loss_chart(results: list[AttackResult], key: str) -> Markup:
    """Draw the loss of an attack over its iterations, a line for each seed."""
    runs = [result for result in results if result.kind == "run"]
    series = [
        Series(run.curve, f"seed {run.seed}" if len(runs) > 1 else "", look)
        for look, run in enumerate(sorted(runs, key=lambda run: run.seed or 0))
    ]
    losses = [loss for line in series for _, loss in line.points]
    finite = [loss for _, loss in runs[0].curve if loss is not None] if runs else []
    best = f"Of seed {runs[0].seed}, the best: from" if len(runs) > 1 else "From"
    drawn = line_chart(
        series,
        Axis("iteration"),
        Axis("loss", log=spans_decades(losses)),
        key=key,
        title=f"Loss of {results[0].name}",
        description=f"{best} {number(finite[0])} to {number(finite[-1])} in {runs[0].iterations} iterations."
        if finite
        else "No finite loss.",
    )
    return drawn and drawn + legend(series)


def defence_charts(points: list[DefencePoint], statistic: str) -> list[Curve]:
    """Draw the similarity, and the accuracy where it was measured, over how much was altered."""
    return [
        curve
        for curve in (
            _curve(points, lambda point: point.similarity_mean, f"mean {statistic}", "Leak: lower is better.", fixed),
            _curve(points, _share, "accuracy, %", "Use: higher is better.", lambda value: f"{fixed(value, 1)} %"),
        )
        if curve.drawn
    ]


def altered(point: DefencePoint) -> str:
    """Return what was done to the model, in words."""
    match point.kind:
        case "noise":
            return f"noise, {number(point.value)} of the change"
        case "bits":
            return f"rounded to {number(point.value)} bits"
        case _:
            return "as published"


def _share(point: DefencePoint) -> float | None:
    return None if point.accuracy is None else 100 * point.accuracy


def _curve(
    points: list[DefencePoint],
    value: Callable[[DefencePoint], float | None],
    name: str,
    title: str,
    write: Callable[[float | None], str],
) -> Curve:
    plain = [point for point in points if point.kind == "none"]
    log = spans_decades([point.distortion for point in points if point.kind != "none"])
    first = [] if log else plain
    kinds = {"noise": "noise added", "bits": "rounded to bits"}
    series = [
        Series([(p.distortion, value(p)) for p in sorted([*first, *found], key=lambda p: p.distortion)], said, look)
        for look, (kind, said) in enumerate(kinds.items())
        if (found := [point for point in points if point.kind == kind])
    ]
    start = next((value(point) for point in plain), None)
    drawn = line_chart(
        series,
        Axis("distortion of the change", log=log),
        Axis(name),
        key=f"defence-{title.split(':')[0].lower()}",
        title=f"{name[0].upper()}{name[1:]} over the distortion of the change",
        description="; ".join(f"{altered(point)}: {write(value(point))}" for point in points) + ".",
        guide=None if start is None else (start, "as published"),
    )
    return Curve(title, drawn and drawn + legend(series))
