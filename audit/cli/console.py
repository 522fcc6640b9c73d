"""Events and reports on a terminal, through Rich; plain lines where there is no terminal."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from ... import MemauditError
from ..events import Event
from ..report.results import titles

if TYPE_CHECKING:
    from ..report.kind import Detail, RecordKind
    from ..report.model import AuditReport
    from ..report.results import LeaderboardRow
    from ..tasks.many import Summary
    from ..verdict.baseline import Comparison
    from ..verdict.rules import Rule

PLAIN_WIDTH = 160
"""Columns where there is no terminal: names in tables are not cut short."""

PLAIN_SECONDS = 10.0
"""Without a terminal, one line of progress is printed in this many seconds."""

MOST_ROWS = 15
"""Rows of the leaderboard that are printed; the report has them all."""

COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow", "error": "red"}
TITLES = {
    "load": "Reading",
    "search": "Searching",
    "plan": "Timing",
    "skip": "Left out",
    "attack": "Attacking",
    "finish": "Measuring",
    "match": "Matching",
    "linearity": "Linearity",
    "defend": "Defending",
}


def make_console(answer: bool = False) -> Console:
    """Return a console that animates only on a terminal outside CI; NO_COLOR and FORCE_COLOR are honoured.

    Args:
        answer: Write to stdout, as commands do whose output is what was asked for; stderr otherwise.
    """
    terminal = (sys.stdout if answer else sys.stderr).isatty()
    interactive = terminal and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
    width = None if terminal or "COLUMNS" in os.environ else PLAIN_WIDTH
    return Console(stderr=not answer, force_interactive=interactive, soft_wrap=True, highlight=False, width=width)


class Screen:
    """A listener that draws events; use it as a context manager, so that the progress bar is taken down.

    Args:
        console: Where to draw.
        verbosity: -1 for errors and warnings only, 0 for progress, 1 for every number in it.
    """

    def __init__(self, console: Console, verbosity: int = 0) -> None:
        self.console = console
        self.verbosity = verbosity
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"), console=console, transient=True,
        )  # fmt: skip
        self.task: TaskID | None = None
        self.stage = ""
        self.spoke = time.monotonic()
        self.began = (time.monotonic(), 0)

    def __enter__(self) -> "Screen":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def __call__(self, event: Event) -> None:
        """Draw one event."""
        if event.stage == "warning":
            self.console.print(f"[yellow]warning:[/] {escape(event.message)}")
        elif event.plan:
            self._stop()
            if self.verbosity >= 0:
                print_plan(self.console, event.plan)
        elif event.step:
            self._advance(event)
        elif event.stage == "done":
            self._stop()
        elif event.stage == "report":
            self._stop()
            if self.verbosity >= 0:
                self.console.print(f"Wrote [bold]{escape(event.message)}[/]")
        elif self.verbosity >= 0:
            self._stop()
            self.stage = ""
            self.console.print(f"{TITLES.get(event.stage, event.stage)}: {escape(event.message)}")

    def _advance(self, event: Event) -> None:
        if self.verbosity < 0:
            return
        shown = event.values if self.verbosity > 0 else _shown(event.values)
        note = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        title = f"{TITLES.get(event.stage, event.stage)} {event.message}"
        if self.console.is_interactive:
            self._bar(event, title, note)
        else:
            self._line(event, title, note)

    def _bar(self, event: Event, title: str, note: str) -> None:
        if self.stage != event.stage or self.task is None:
            self._stop()
            self.stage = event.stage
            self.task = self.progress.add_task("", total=event.total, note="")
            self.progress.start()
        self.progress.update(
            self.task, description=escape(title), completed=event.step, total=event.total, note=escape(note)
        )

    def _line(self, event: Event, title: str, note: str) -> None:
        now = time.monotonic()
        if self.stage != event.stage:
            self.stage, self.began = event.stage, (now, event.step)
        if now - self.spoke < PLAIN_SECONDS:
            return
        self.spoke = now
        started, first = self.began
        left = (now - started) / max(event.step - first, 1) * (event.total - event.step)
        self.console.print(f"{escape(title)} {event.step}/{event.total}, about {left:.0f} s left, {escape(note)}")

    def _stop(self) -> None:
        if self.task is not None:
            self.progress.stop()
            self.progress.remove_task(self.task)
            self.task = None


def _shown(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name in ("loss", "change_ratio")}


def print_plan(console: Console, plan: Sequence[Mapping[str, Any]]) -> None:
    """Print what will run and what will not, as :class:`.results.PlanStep` dumps it."""
    running, left = [step for step in plan if step["runs"]], [step for step in plan if not step["runs"]]
    if running:
        console.print(_plan_table(running, len(plan)), soft_wrap=False)
    else:
        console.print("Plan: no attack runs")
    if left:
        reasons = Table.grid("", "", padding=(0, 2, 0, 0))
        for step in left:
            reasons.add_row(f"  {escape(step['attack'])}", escape(step["reason"]), style="dim")
        console.print("Left out; --attack NAME runs one all the same:")
        console.print(reasons, soft_wrap=False)


def _plan_table(running: Sequence[Mapping[str, Any]], count: int) -> Table:
    total, limited = sum(step["seconds"] or 0.0 for step in running), any(step["share"] is not None for step in running)
    title = f"Plan: {len(running)} of {count} attacks, up to {duration(max(total, 1.0))}"
    table = Table("attack", title=title, title_justify="left")
    for column in ("time", "memory", *(["share"] if limited else [])):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("why")
    for step in running:
        why = step["reason"] + (f"; starts from {step['start_from']}" if step["start_from"] else "")
        numbers = [duration(step["seconds"]), size(step["peak_memory_bytes"])]
        numbers += [duration(step["share"])] if limited else []
        table.add_row(*map(escape, (step["attack"], *numbers, why)))
    table.columns[0].no_wrap = True
    return table


def duration(seconds: float | None) -> str:
    """Return a time in the unit that suits it."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return "< 1 s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def size(number: int | None) -> str:
    """Return a count of bytes in the unit that suits it."""
    if number is None:
        return "-"
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def print_error(console: Console, error: MemauditError) -> None:
    """Print an error as one sentence and its hint."""
    hint = f" {escape(error.hint)}" if error.hint else ""
    console.print(f"[red]error:[/] {escape(error.message)}{hint}")


def print_summary(console: Console, report: "AuditReport") -> None:
    """Print the leaderboard, its rule and the verdict."""
    title = f"{escape(report.architecture.name)}, learning rate {_fact(report)}"
    table = Table(title=title, title_justify="left")
    fitting = [column for column in columns(report.kind) if console.width >= column.width]
    shown = [column for column in fitting if any(map(column.text, report.leaderboard))]
    table.add_column("attack")
    table.add_column("ended", no_wrap=True)
    for column in shown:
        table.add_column(column.name, justify="right", no_wrap=True)
    names = titles(report.attacks)
    for row in report.leaderboard[:MOST_ROWS]:
        texts = [column.text(row) or "-" for column in shown]
        table.add_row(escape(names.get(row.key, row.attack)), row.status.replace("_", " "), *texts)
    console.print(table, soft_wrap=False)
    if (more := len(report.leaderboard) - MOST_ROWS) > 0:
        console.print(f"{more} more in the report.")
    if len(report.leaderboard) > 1:
        rule = report.ranking.partition(". ")[0].removesuffix(".")
        console.print(f"[dim]Order: {escape(rule[:1].lower() + rule[1:])}.[/]")
        if report.recovered_by_any is not None and report.inputs.data:
            of = report.kind.words.count(report.inputs.data.count)
            console.print(f"All together recovered {report.recovered_by_any} of {of}.")
    verdict = report.verdict
    severity = "" if verdict.severity == "none" else f" ({verdict.severity})"
    console.print(f"[bold {COLOURS[verdict.status]}]{verdict.status.upper()}{severity}[/] {escape(verdict.summary)}")


def print_rules(console: Console, rules: Sequence["Rule"]) -> None:
    """Print the table of rules."""
    table = Table("rule", "severity", "when", "what to do", show_lines=True)
    for rule in rules:
        title = f"[bold]{rule.id}[/] {escape(rule.name)}\n{escape(rule.title)}"
        table.add_row(title, "\n".join(rule.severities), escape(rule.when), escape(rule.help))
    table.columns[1].no_wrap = True
    console.print(table, soft_wrap=False)


def print_comparison(console: Console, found: "Comparison") -> None:
    """Print which leaks are accepted and which are not."""
    groups = (("known", "green", found.known), ("expired", "red", found.expired), ("new", "red", found.new))
    for word, colour, findings in groups:
        for finding in findings:
            console.print(f"[{colour}]{word:8}[/] ", end="")
            console.print(f"{finding.rule} {finding.severity} {finding.attack}: {finding.message}", markup=False)
    for item in found.gone:
        console.print("[dim]gone    [/] ", end="")
        console.print(f"{item.rule} {item.severity} {item.attack}: no longer found, write anew", markup=False)
    if not any((found.known, found.expired, found.new, found.gone)):
        console.print("No leak, and none accepted.")


def print_pairs(console: Console, found: "Summary") -> None:
    """Print what became of each pair, the worst first."""
    table = Table("pair", "verdict", "what")
    for result in found.results:
        colour = COLOURS[result.status]
        table.add_row(escape(result.name), f"[{colour}]{result.status}[/]", escape(result.summary))
    table.columns[0].no_wrap = True
    console.print(table, soft_wrap=False)


def _recovered(row: "LeaderboardRow") -> str:
    if row.recovered is None:
        return ""
    share = row.recovered_interval
    interval = f" ({share[0] * 100:.0f}-{share[1] * 100:.0f} %)" if share else ""
    return f"{row.recovered} of {row.records}{interval}" if row.records else str(row.recovered)


def _fact(report: "AuditReport") -> str:
    fact = report.recipe.lr
    return f"{_number(fact.value) if isinstance(fact.value, float | int) else 'unknown'} ({fact.source})"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if value < 0.1 else f"{value:.3f}"


class Column(NamedTuple):
    """One column of the leaderboard; left out where it says nothing, or the screen is narrower than ``width``."""

    name: str
    text: Callable[["LeaderboardRow"], str]
    width: int = 0


def columns(kind: "RecordKind") -> list[Column]:
    """Return the columns of a leaderboard of this kind of record."""
    return [
        Column(kind.statistic, lambda row: _number(row.similarity_mean)),
        Column("best", lambda row: _number(row.similarity_max)),
        *(Column(detail.title, partial(_detail, detail), 120) for detail in kind.details if detail.brief),
        Column("recovered", _recovered),
        Column("confidence", lambda row: _number(row.confidence_mean)),
        Column("loss", lambda row: _number(row.loss)),
        Column("time", lambda row: duration(row.seconds)),
        Column("memory", lambda row: size(row.peak_memory_bytes) if row.peak_memory_bytes else "", 120),
    ]


def _detail(detail: "Detail", row: "LeaderboardRow") -> str:
    value = row.details_mean.get(detail.name)
    return "" if value is None else f"{value:.{detail.digits}f}"


def relative(path: Path) -> str:
    """Return a path as short as it can be written from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
