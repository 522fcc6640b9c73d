"""What tasks found, as tables and sentences on a terminal."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ..report.facts import Fact
from ..report.model import AuditReport
from ..report.verdict import DefencePoint
from ..verdict.advice import NO_BACKING
from .console import COLOURS
from .markup import escape
from .numbers import NOTHING, fixed, number, percent, plain
from .verdicts import print_summary

if TYPE_CHECKING:  # what was done is imported by who does it: it takes seconds
    from ..tasks.check import Checked
    from ..tasks.infer import Inference
    from ..tasks.linearity import Linearity
    from ..tasks.many import Summary
    from ..tasks.runs import Deleted, Run


_GUESSED = {"image_size": "image size assumed: any fits", "length": "length assumed: nothing shows it"}
"""What is said of an input's shape that was guessed, by the fact that was."""


def print_check(console: Console, found: "Checked", brief: bool = False) -> None:
    """Print whether the data explain the change, and what they were compared with."""
    check = found.check
    colour, word = ("green", "EXPLAINED") if check.explained else ("yellow", "NOT EXPLAINED")
    if check.explained is None:
        word = "UNKNOWN"
    console.print(f"[bold {colour}]{word}[/] {escape(check.reason)}")
    if check.reading:
        console.print(f"They explain most if read otherwise: {escape(check.reading)}.")
    if brief or check.unexplained is None:
        return
    table = Table(title=f"{found.architecture}, compared by {check.basis}", title_justify="left")
    table.add_column("records")
    table.add_column("sets", justify="right")
    table.add_column("explained", justify="right")
    table.add_row("the data", "", f"{1 - check.unexplained:.1%}")
    for other in check.comparisons:
        table.add_row(escape(other.name), str(other.sets), f"{1 - other.unexplained:.1%}")
    console.print(table)


def print_inspection(console: Console, found: dict[str, Any]) -> None:
    """Print what :func:`inspect` found."""
    for side in ("before", "after"):
        if side in found:
            file = found[side]
            console.print(f"[bold]{side}[/] {escape(file['path'])}")
            console.print(f"  {file['format']}, {', '.join(file['dtypes'])}, {file['tensors']} tensors, ", end="")
            console.print(f"{file['parameters']:,} parameters, sha256 {file['sha256']}")
            _print_names(console, "  state dict at:", [file["key"]] if file["key"] else [])
            _print_names(console, "  left out, no part of the network:", file["aside"])
    architecture = found["architecture"]
    if architecture["name"] is None:
        console.print(f"[yellow]not recognised:[/] {escape(architecture['problem'])}")
    else:
        guess = next((f" ({said})" for fact, said in _GUESSED.items() if fact in architecture["assumed"]), "")
        console.print(
            f"[bold]architecture[/] {escape(architecture['name'])}, match {percent(architecture['score'])}, ", end=""
        )
        count = architecture["classes"]
        console.print(f"{'one logit' if count == 1 else f'{count} classes'}, {architecture['input']}{guess}")
    stores = "[yellow]looks made to store what it is trained on (memaudit rules, MA007):[/]"
    _print_names(console, stores, found.get("ladders", ()))
    if "tensors" in found:
        _print_lora(console, found["lora"])
        _print_names(console, "[yellow]start unknown, a new head:[/]", found["fresh"])
        _print_names(console, "only before training, an old head:", found["dropped"])
        console.print(f"{found['moved']} of {len(found['tensors'])} tensors moved")
        console.print(_tensor_table(found["tensors"]))
        console.print("[bold]read off the change[/]")
        console.print(_fact_table(found["delta"]))


def _print_lora(console: Console, found: dict[str, Any] | None) -> None:
    if found is None:
        return
    ranks, scales = (", ".join(number(value, 4) for value in found[name]) for name in ("ranks", "scales"))
    start = "known" if found["start"] == "known" else "[yellow]unknown: its end stands for it[/]"
    console.print(
        f"[bold]LoRA adapter[/] {found['layers']} layers, rank {ranks}, scale {scales}; the start of lora_A is {start}"
    )


def _print_names(console: Console, what: str, names: Sequence[str]) -> None:
    if names:
        console.print(f"{what} {escape(', '.join(names))}")


def _tensor_table(tensors: list[dict[str, Any]]) -> Table:
    table = Table()
    for column in ("tensor", "shape", "dtype", "status"):
        table.add_column(column)
    for column in ("|change|", "|change| / |before|", "SNR"):
        table.add_column(column, justify="right")
    for row in tensors:
        shape = " x ".join(str(n) for n in row["shape"]) or "scalar"
        numbers = [number(row["change"]), number(row["relative_change"], 3), number(row["snr"] or None, 3)]
        table.add_row(escape(row["name"]), shape, row["dtype"], row["status"], *numbers)
    return table


def _fact_table(facts: dict[str, dict[str, Any]]) -> Table:
    table = Table(show_lines=True)
    for column in ("fact", "value"):
        table.add_column(column, overflow="fold")
    table.add_column("sure", justify="right")
    table.add_column("evidence")
    for name, fact in facts.items():
        table.add_row(name, _reading(fact), percent(fact["confidence"]), escape(fact["evidence"]))
    return table


def _reading(fact: dict[str, Any]) -> str:
    """Return the value and, below it, the interval, with digits enough to tell a factor near 1 from 1."""
    low, high = fact["interval"] or (None, None)
    known = low is not None and high is not None and low < high
    return _value(fact["value"], 8) + (f"\n{number(low, 7)} to {number(high, 7)}" if known else "")


def _value(value: Any, digits: int = 4) -> str:
    return escape(number(value, digits) if isinstance(value, float) else plain(value))


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


def print_inference(console: Console, found: "Inference") -> None:
    """Print the recipe as a table with the evidence."""
    table = Table(title="How the model was trained", title_justify="left")
    for column in ("field", "value", "source", "confidence", "evidence"):
        table.add_column(column)
    for name, fact in found.recipe.items():
        table.add_row(name, _value(fact.value), fact.source, _sureness(fact), escape(fact.evidence))
    console.print(table)


def _sureness(fact: Fact) -> str:
    """Return a fact's confidence and interval."""
    sure = "" if fact.confidence is None else percent(fact.confidence)
    low, high = fact.interval or (None, None)
    return sure if low is None or high is None else f"{sure} ({number(low, 3)} to {number(high, 3)})".strip()


def print_linearity(console: Console, found: "Linearity") -> None:
    """Print the measurement and what it means."""
    spread = f"samples from {fixed(found.lowest)} to {fixed(found.highest)}"
    console.print(
        f"[bold]M_lin {fixed(found.value, 4)}[/] {escape(found.architecture)}, {found.samples} images, {spread}"
    )
    console.print(f"{found.meaning[0].upper()}{found.meaning[1:]}.")


def print_defences(console: Console, report: AuditReport) -> None:
    """Print the curve as a table, and what it does not say."""
    points = report.defences
    table = Table(title="What each defence leaves", title_justify="left")
    table.add_column("published")
    names = ["distortion", report.kind.statistic, "best", "recovered", "exposed", *_accuracy_column(points), "verdict"]
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
    from ..tasks.alter import Defence

    what = "as it is" if point.kind == "none" else str(Defence(point.kind, point.value or 0.0))
    scores = [fixed(point.similarity_mean), fixed(point.similarity_max)]
    found = NOTHING if point.recovered is None else f"{point.recovered} of {point.records}"
    exposed = NOTHING if point.exposed_at_least is None else f"{point.exposed_at_least} or more"
    accuracy = [] if point.accuracy is None else [percent(point.accuracy, 1)]
    return [what, number(point.distortion, 3), *scores, found, exposed, *accuracy, point.verdict]


def print_demo(console: Console, report: AuditReport) -> None:
    """Print what the demonstration showed."""
    print_summary(console, report)
    attack = report.attacks[0]
    if attack.metrics is None:
        return
    metrics = attack.metrics
    words = report.kind.words
    console.print(
        f"From two checkpoints and no {words.one}, memaudit rebuilt {metrics.recovered} of {metrics.records} private "
        f"{words.many} (mean {report.kind.statistic} {fixed(metrics.similarity_mean, 2)}). Against {metrics.null_size} "
        f"{words.many} that were not used, the same reconstructions reach {fixed(metrics.control_similarity_mean, 2)}."
    )


def print_pairs(console: Console, found: "Summary") -> None:
    """Print the outcome of each pair, the worst first."""
    table = Table("pair", "verdict", "what")
    for result in found.results:
        colour = COLOURS[result.status]
        table.add_row(escape(result.name), f"[{colour}]{result.status}[/]", escape(result.summary))
    table.columns[0].no_wrap = True
    console.print(table, soft_wrap=False)


def print_runs(console: Console, place: Path, found: Sequence["Run"]) -> None:
    """Print run folders, the newest first."""
    if not found:
        console.print(f"There is no run folder in {escape(str(place))}.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("folder and pair", overflow="fold")
    table.add_column("date", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    for run in found:
        size = f"{run.size / 2**20:.1f} MiB"
        what = escape(run.path) + (f"\n[dim]  {escape(run.pair)}[/]" if run.pair else "")
        table.add_row(what, run.date[:16].replace("T", " "), run.verdict, size)
    console.print(table, soft_wrap=False)


def print_deleted(console: Console, folder: Path, gone: "Deleted") -> None:
    """Print what is gone, and what is not."""
    console.print(f"Deleted what memaudit wrote into {escape(str(folder))} ({gone.size / 2**20:.1f} MiB).")
    if gone.left:
        console.print(f"Still there, as memaudit did not write it: {escape(', '.join(gone.left))}")
    if gone.elsewhere:
        console.print(f"Still there, reports that were written elsewhere: {escape(', '.join(gone.elsewhere))}")
