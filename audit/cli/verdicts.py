"""What was found and decided, as tables and sentences on a terminal."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from ..report.kind import Detail, RecordKind
from ..report.model import AuditReport
from ..report.results import LeaderboardRow, titles
from ..report.verdict import NextStep, Verdict
from ..verdict.baseline import Comparison
from ..verdict.rules import Rule
from ..words import share
from .console import COLOURS, WIDE
from .markup import escape
from .numbers import NOTHING, duration, fixed, memory, number, plain

MOST_ROWS = 15
"""Rows of the leaderboard that are printed; the report has them all."""


def print_summary(console: Console, report: AuditReport) -> None:
    """Print the leaderboard, its rule and the verdict."""
    title = f"{escape(report.architecture.name)}, learning rate {_fact(report)}"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    fitting = [column for column in columns(report.kind, console.width) if console.width >= column.width]
    shown = [column for column in fitting if any(map(column.text, report.leaderboard))]
    console.print(title)
    table.add_column("attack", min_width=6)
    table.add_column("ended", no_wrap=True)
    for column in shown:
        table.add_column(column.name, justify="right", no_wrap=True)
    names = titles(report.attacks)
    for row in report.leaderboard[:MOST_ROWS]:
        texts = [column.text(row) or NOTHING for column in shown]
        table.add_row(escape(names.get(row.key, row.attack)), row.status.replace("_", " "), *texts)
    console.print(table, soft_wrap=False)
    if (more := len(report.leaderboard) - MOST_ROWS) > 0:
        console.print(f"{more} more in the report.")
    if len(report.leaderboard) > 1:
        rule = report.ranking.partition(". ")[0].partition(", then by ")[0].removesuffix(".")
        console.print(f"[dim]Order: {escape(rule[:1].lower() + rule[1:])}.[/]")
        if report.recovered_by_any is not None and report.inputs.data:
            of = report.kind.words.count(report.inputs.data.count)
            console.print(f"All together recovered {report.recovered_by_any} of {of}.")
    print_verdict_and_next(console, report.verdict)


def print_verdict_and_next(console: Console, verdict: Verdict) -> None:
    """Print the decision, and what to do where there is none."""
    print_verdict(console, verdict)
    if verdict.next_step:
        _print_next(console, verdict.next_step)


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Print the decision and one sentence."""
    severity = "" if verdict.severity == "none" else f" ({verdict.severity})"
    said = escape(verdict.headline or verdict.summary)
    console.print(f"[bold {COLOURS[verdict.status]}]{verdict.status.upper()}{severity}[/] {said}")


def _print_next(console: Console, step: NextStep) -> None:
    console.print(f"[bold]Next step:[/] {escape(step.reason)}" + (f" ({step.estimate})" if step.estimate else ""))
    if step.command:
        console.print(f"  {escape(step.command)}", soft_wrap=True)


def print_rules(console: Console, rules: Sequence[Rule]) -> None:
    """Print the table of rules."""
    table = Table("rule", "severity", "when", "what to do", show_lines=True)
    for rule in rules:
        title = f"[bold]{rule.id}[/] {escape(rule.name)}\n{escape(rule.title)}"
        table.add_row(title, "\n".join(rule.severities), escape(rule.when), escape(rule.help))
    table.columns[1].no_wrap = True
    console.print(table, soft_wrap=False)


def print_comparison(console: Console, found: Comparison) -> None:
    """Print which leaks are accepted and which are not."""
    groups = (("known", "green", found.known), ("expired", "red", found.expired), ("new", "red", found.new))
    for word, colour, findings in groups:
        for finding in findings:
            console.print(f"[{colour}]{word:8}[/] ", end="")
            console.print(f"{finding.rule} {finding.severity} {finding.attack}: {finding.message}", markup=False)
    for item in found.gone:
        console.print("[dim]gone    [/] ", end="")
        console.print(
            f"{item.rule} {item.severity} {item.attack}: no longer found; write the baseline again", markup=False
        )
    if not any((found.known, found.expired, found.new, found.gone)):
        console.print("No leak, and none accepted.")


def _fact(report: AuditReport) -> str:
    fact = report.recipe.get("lr")
    return "unknown" if fact is None else f"{plain(fact.value)} ({fact.source})"


class Column(NamedTuple):
    """One column of the leaderboard; left out where it says nothing, or the screen is narrower than ``width``."""

    name: str
    text: Callable[[LeaderboardRow], str]
    width: int = 0


def _recovered(width: int, row: LeaderboardRow) -> str:
    if row.recovered is None:
        return ""
    interval = f" ({share(row.recovered_interval)})" if row.recovered_interval and width >= WIDE else ""
    return f"{row.recovered} of {row.records}{interval}" if row.records else str(row.recovered)


def _score(value: float | None, digits: int = 3) -> str:
    return "" if value is None else fixed(value, digits)


def columns(kind: RecordKind, width: int) -> list[Column]:
    """Return the columns of a leaderboard of this kind of record, on a screen of this many columns."""
    return [
        Column(kind.statistic, lambda row: _score(row.similarity_mean)),
        Column("best", lambda row: _score(row.similarity_max)),
        *(Column(detail.title, partial(_detail, detail), 120) for detail in kind.details if detail.brief),
        Column("recovered", partial(_recovered, width)),
        Column("confidence", lambda row: _score(row.confidence_mean)),
        Column("loss", lambda row: "" if row.loss is None else number(row.loss, 3), WIDE),
        Column("time", lambda row: duration(row.seconds)),
        Column("memory", lambda row: memory(row.peak_memory_bytes) if row.peak_memory_bytes else "", 120),
    ]


def _detail(detail: Detail, row: LeaderboardRow) -> str:
    return _score(row.details_mean.get(detail.name), detail.digits)
