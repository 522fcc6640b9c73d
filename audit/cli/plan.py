"""What will run, and what will not, as tables on a terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .markup import escape
from .numbers import duration, memory

Steps = Sequence[Mapping[str, Any]]
"""A plan, each attack as :class:`.results.PlanStep` dumps it."""


def print_plan(console: Console, plan: Steps, left: float = math.inf, reasons: bool = False) -> None:
    """Print what will run and what will not.

    Args:
        console: Where to print.
        plan: All attacks.
        left: Seconds that there are.
        reasons: Whether to say why each of the others is left out; else only their names, to fit a small screen.
    """
    running, others = [step for step in plan if step["runs"]], [step for step in plan if not step["runs"]]
    console.print(_title(running, len(plan), left))
    if running:
        console.print(_running(running, whole=reasons or console.width >= 120), soft_wrap=False)
    if not others:
        return
    if not reasons:
        names = ", ".join(step["attack"] for step in others)
        console.print(f"[dim]Left out (-v says why, --attack NAME runs one): {escape(names)}[/]")
        return
    console.print("Left out; --attack NAME runs one anyway:")
    table = Table.grid("", "", padding=(0, 2, 0, 0))
    for step in others:
        table.add_row(f"  {escape(step['attack'])}", escape(step["reason"]), style="dim")
    console.print(table, soft_wrap=False)


def _title(running: Steps, count: int, left: float) -> str:
    """Return how many attacks run, and what they take at most, in time (where all are known) and in memory."""
    if not running:
        return "Plan: no attack runs"
    times = [step["seconds"] for step in running]
    known = sum(times) if None not in times else math.inf
    peak = max((step["peak_memory_bytes"] or 0 for step in running), default=0)
    told = [_most(min(known, left)), memory(peak) if peak else ""]
    return ", ".join(filter(None, [f"Plan: {len(running)} of {count} attacks", *told]))


def _most(seconds: float) -> str:
    """Return a time that is not exceeded, as the end of a sentence; empty where none is known."""
    if not math.isfinite(seconds):
        return ""
    return f"up to {duration(seconds)}" if seconds >= 1 else "under a second"


def _running(running: Steps, whole: bool) -> Table:
    """Return a row for each attack that runs; ``whole`` lets reasons take several lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("attack", no_wrap=True)
    for column in ("time", "memory"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("why")
    for step in running:
        why = step["reason"] + (f"; starts from {step['start_from']}" if step["start_from"] else "")
        told = Text(why, no_wrap=not whole, overflow="fold" if whole else "ellipsis")
        table.add_row(escape(step["attack"]), _time(step), memory(step["peak_memory_bytes"]), told)
    return table


def _time(step: Mapping[str, Any]) -> str:
    """Return what an attack takes; where that is more than its share of the time, the share of it."""
    whole, share = step["seconds"], step["share"]
    if whole is None or share is None or share >= whole:
        return duration(whole)
    return f"{duration(share)} of {duration(whole)}"


def print_search(console: Console, seconds: float | None) -> None:
    """Print how long the search for the learning rate takes at most; nothing where none is needed."""
    if seconds is not None:
        told = ", ".join(filter(None, ["First a search for the learning rate, as none is known", _most(seconds)]))
        console.print(told)
