"""Events and reports on a terminal, through Rich; plain lines where there is no terminal."""

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ... import MemauditError
from ..events import Event
from .numbers import duration, number
from .plan import print_plan

PLAIN_WIDTH = 160
"""Columns where there is no terminal: names in tables are not cut short."""

PLAIN_SECONDS = 10.0
"""Without a terminal, one line of progress is printed in this many seconds."""

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
        note = "  ".join(f"{name} {number(value)}" for name, value in shown.items())
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
        self.console.print(f"{escape(title)} {event.step}/{event.total}, about {duration(left)} left, {escape(note)}")

    def _stop(self) -> None:
        if self.task is not None:
            self.progress.stop()
            self.progress.remove_task(self.task)
            self.task = None


def _shown(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name in ("loss", "change_ratio")}


def print_error(console: Console, error: MemauditError) -> None:
    """Print an error as one sentence and its hint."""
    hint = f" {escape(error.hint)}" if error.hint else ""
    console.print(f"[red]error:[/] {escape(error.message)}{hint}")
