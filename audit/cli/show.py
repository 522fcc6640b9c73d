"""What tasks found, as tables and sentences on a terminal."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..report.facts import Fact
from ..report.model import AuditReport
from ..report.verdict import DefencePoint
from ..tasks.alter import Defence
from ..tasks.infer import Inference
from ..tasks.inspect import SHOWN
from ..tasks.linearity import Linearity
from ..verdict.advice import NO_BACKING
from .console import print_summary, relative


def print_inspection(console: Console, found: dict[str, Any]) -> None:
    """Print what :func:`inspect` found."""
    for side in ("before", "after"):
        if side in found:
            file = found[side]
            console.print(f"[bold]{side}[/] {escape(file['path'])}")
            console.print(f"  {file['format']}, {', '.join(file['dtypes'])}, {file['tensors']} tensors, ", end="")
            console.print(f"{file['parameters']:,} parameters, sha256 {file['sha256']}")
    architecture = found["architecture"]
    if architecture["name"] is None:
        console.print(f"[yellow]not recognised:[/] {escape(architecture['problem'])}")
    else:
        shape = " x ".join(str(n) for n in architecture["shape"])
        guess = " (image size assumed: any fits)" if "image_size" in architecture["assumed"] else ""
        console.print(
            f"[bold]architecture[/] {escape(architecture['name'])}, match {architecture['score']:.0%}, ", end=""
        )
        count = architecture["classes"]
        console.print(f"{'one logit' if count == 1 else f'{count} classes'}, images {shape}{guess}")
    if "tensors" in found:
        console.print(f"{found['moved']} of {len(found['tensors'])} tensors moved")
        console.print(_tensor_table(found["tensors"]))
        console.print("[bold]read off the change[/]")
        console.print(_fact_table(found["delta"]))


def _tensor_table(tensors: list[dict[str, Any]]) -> Table:
    table = Table()
    for column in ("tensor", "shape", "dtype", "status"):
        table.add_column(column)
    for column in ("|change|", "|change| / |before|", "SNR"):
        table.add_column(column, justify="right")
    for row in tensors:
        shape = " x ".join(str(n) for n in row["shape"]) or "scalar"
        change = f"{row['change']:.3e}" if row["change"] else "0"
        table.add_row(
            escape(row["name"]),
            shape,
            row["dtype"],
            row["status"],
            change,
            _number(row["relative_change"], ".2e"),
            _number(row["snr"] or None, ".3g"),
        )
    return table


def _fact_table(facts: dict[str, dict[str, Any]]) -> Table:
    table = Table(show_lines=True)
    for column in ("fact", "value"):
        table.add_column(column, overflow="fold")
    table.add_column("sure", justify="right")
    table.add_column("evidence")
    for name, fact in facts.items():
        table.add_row(name, _value(fact), _number(fact["confidence"], ".0%"), escape(fact["evidence"]))
    return table


def _value(fact: dict[str, Any]) -> str:
    """Return the value and, below it, the interval."""
    value = fact["value"]
    if isinstance(value, list):
        shown = ", ".join(str(part) for part in value[:SHOWN]) + (", ..." if len(value) > SHOWN else "")
    else:
        shown = f"{value:.8g}" if isinstance(value, float) else str(value)
    low, high = fact["interval"] or (None, None)
    if low is not None and high is not None and low < high:
        shown += f"\n{low:.7g} to {high:.7g}"
    return escape(shown)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def print_plugins(console: Console, found: dict[str, list[dict[str, Any]]]) -> None:
    """Print what :func:`list_plugins` found."""
    for kind, rows in found.items():
        console.print(f"[bold]{kind}[/]")
        for row in rows:
            console.print(f"  [cyan]{escape(row['name'])}[/] {escape(row.get('problem', row.get('summary', '')))}")
            for option in row.get("options", []):
                console.print(
                    f"    --set {row['name']}.{option['name']}={option['default']}  ({option['type']})", markup=False
                )


def print_inference(console: Console, found: Inference) -> None:
    """Print the recipe as a table with the evidence."""
    table = Table(title="How the model was trained", title_justify="left")
    for column in ("field", "value", "source", "confidence", "evidence"):
        table.add_column(column)
    for name, fact in found.recipe.items():
        table.add_row(name, escape(shown(fact)), fact.source, sureness(fact), escape(fact.evidence))
    console.print(table)


def shown(fact: Fact) -> str:
    """Return a fact's value for a table."""
    value = fact.value
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def sureness(fact: Fact) -> str:
    """Return a fact's confidence and interval for a table."""
    sure = "" if fact.confidence is None else f"{fact.confidence:.0%}"
    if fact.interval is None or fact.interval[0] is None or fact.interval[1] is None:
        return sure
    low, high = fact.interval
    return f"{sure} ({low:.3g} to {high:.3g})".strip()


def print_linearity(console: Console, found: Linearity) -> None:
    """Print the measurement and what it means."""
    spread = f"samples from {found.lowest:.3f} to {found.highest:.3f}"
    console.print(f"[bold]M_lin {found.value:.4f}[/] {escape(found.architecture)}, {found.samples} images, {spread}")
    console.print(f"{found.meaning[0].upper()}{found.meaning[1:]}.")


def print_defences(console: Console, report: AuditReport) -> None:
    """Print the curve as a table, and what it does not say."""
    points = report.defences
    table = Table(title="What each defence leaves", title_justify="left")
    table.add_column("published")
    names = ["distortion", "SSIM", "best", "recovered", *_accuracy_column(points), "verdict"]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for point in points:
        table.add_row(*_cells(point))
    console.print(table, soft_wrap=False)
    console.print(f"[dim]{NO_BACKING}[/]")


def _accuracy_column(points: Sequence[DefencePoint]) -> Iterator[str]:
    if points and points[0].accuracy is not None:
        yield "accuracy"


def _cells(point: DefencePoint) -> list[str]:
    what = "as it is" if point.kind == "none" else str(Defence(point.kind, point.value or 0.0))
    scores = ["-" if score is None else f"{score:.3f}" for score in (point.ssim_mean, point.ssim_max)]
    found = "-" if point.recovered is None else f"{point.recovered} of {point.images}"
    accuracy = [] if point.accuracy is None else [f"{point.accuracy:.1%}"]
    return [what, f"{point.distortion:.3g}", *scores, found, *accuracy, point.verdict]


def print_demo(console: Console, report: AuditReport, folder: Path) -> None:
    """Print what the demonstration showed and where to look at it."""
    print_summary(console, report)
    attack = report.attacks[0]
    if attack.metrics is None:
        return
    metrics = attack.metrics
    console.print(
        f"From two checkpoints and no image, memaudit rebuilt {metrics.recovered} of {metrics.images} private "
        f"photographs (mean SSIM {metrics.ssim_mean:.2f}). Against {metrics.null_size} pictures that were not used, "
        f"the same reconstructions reach {metrics.control_ssim_mean:.2f}."
    )
    console.print(f"Open [bold]{escape(relative(folder / 'run' / 'report.html'))}[/]")
