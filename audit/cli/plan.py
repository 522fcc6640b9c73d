"""What will run, and what will not, as tables on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .numbers import duration, memory


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
        console.print("Left out; --attack NAME runs one anyway:")
        console.print(reasons, soft_wrap=False)


def _plan_table(running: Sequence[Mapping[str, Any]], count: int) -> Table:
    total, limited = sum(step["seconds"] or 0.0 for step in running), any(step["share"] is not None for step in running)
    title = f"Plan: {len(running)} of {count} attacks, up to {duration(total)}"
    table = Table("attack", title=title, title_justify="left")
    for column in ("time", "memory", *(["share"] if limited else [])):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("why")
    for step in running:
        why = step["reason"] + (f"; starts from {step['start_from']}" if step["start_from"] else "")
        numbers = [duration(step["seconds"]), memory(step["peak_memory_bytes"])]
        numbers += [duration(step["share"])] if limited else []
        table.add_row(*map(escape, (step["attack"], *numbers, why)))
    table.columns[0].no_wrap = True
    return table
