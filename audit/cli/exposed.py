"""The exposure of records on a terminal."""

from rich.console import Console
from rich.table import Table

from ..report.exposure import Exposure, Separation
from ..report.model import AuditReport
from ..words import percent, probability
from .markup import escape
from .numbers import NOTHING, fixed
from .verdicts import print_verdict_and_next

MOST = 10
"""Records that are printed; the report has them all."""


def print_exposure(console: Console, report: AuditReport) -> None:
    """Print how well scores separate, the most exposed records, and the verdict."""
    found = report.exposure
    if found is not None and found.measured:
        words = report.kind.words
        share = f"; their gradients explain {percent(found.explained)} of the change"
        console.print(
            f"{escape(report.architecture.name)}: {words.count(found.measured)} beside {words.count(found.held_out)} "
            f"that were not trained on{share if found.explained is not None else ''}."
        )
        console.print(_scores(found))
        console.print(_records(found, words.one))
        if found.epsilon:
            told = f"{found.epsilon.right} of {found.epsilon.guesses} guesses are right"
            console.print(f"epsilon is at least {fixed(found.epsilon.value, 2)}, with 95 % confidence ({told}).")
        console.print(escape(found.reason))
    print_verdict_and_next(console, report.verdict)


def _scores(found: Exposure) -> Table:
    table = _table()
    table.add_column("told from held-out ones by")
    for name in ("AUC", "above 99 % of them", "above 99.9 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in (found.own, *found.baselines):
        table.add_row(escape(row.name), _area(row), _share(row.tpr_at_1_fpr), _share(row.tpr_at_01_fpr))
    return table


def _records(found: Exposure, one: str) -> Table:
    table = _table()
    table.add_column(f"most exposed {one}")
    for name in ("class", "score", "p", "q"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.per_record[:MOST]:
        numbers = (fixed(row.score, 1), probability(row.p_value), probability(row.q_value))
        table.add_row(escape(row.name), escape(row.label) or NOTHING, *numbers)
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _area(row: Separation) -> str:
    if row.auc is None or row.auc_interval is None:
        return NOTHING
    low, high = row.auc_interval
    return f"{fixed(row.auc)} ({fixed(low)} to {fixed(high)})"


def _share(value: float | None) -> str:
    return NOTHING if value is None else percent(value, 1)
