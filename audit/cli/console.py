"""Events and reports on a terminal, through Rich; plain lines where there is no terminal."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from ... import MemauditError
from ..events import Event
from ..machine.clock import NEVER, Deadline
from .markup import PlainConsole, escape
from .numbers import duration, number
from .plan import print_plan

PLAIN_WIDTH = 160
"""Columns where there is no terminal: names in tables are not cut short."""

PLAIN_SECONDS = 10.0
"""Without a terminal, one line of progress is printed in this many seconds."""

WIDE = 100
"""On narrower terminals, progress is told without its numbers."""

BAR = 30
"""Columns of the progress bar, half of them on narrow terminals."""

COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow", "error": "red"}
TITLES = {
    "load": "Reading",
    "check": "Checking",
    "exposure": "Measuring",
    "exact": "Trying first",
    "search": "Searching",
    "plan": "Timing",
    "skip": "Left out",
    "resume": "Continuing",
    "attack": "Attacking",
    "finish": "Measuring",
    "match": "Matching",
    "linearity": "Linearity",
    "defend": "Defending",
    "power": "Proving",
}


def make_console(answer: bool = False) -> Console:
    """Return a console that animates only on a terminal outside CI; NO_COLOR and FORCE_COLOR are honoured.

    Args:
        answer: Write to stdout, as commands do whose output is what was asked for; stderr otherwise.
    """
    terminal = (sys.stdout if answer else sys.stderr).isatty()
    interactive = terminal and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
    width = None if terminal or "COLUMNS" in os.environ else PLAIN_WIDTH
    return PlainConsole(
        stderr=not answer,
        force_interactive=interactive,
        soft_wrap=not terminal,
        highlight=False,
        width=width,
        emoji=False,
    )


class _Remaining(ProgressColumn):
    """The time that a stage will still take, never more than there is."""

    def __init__(self, end: Deadline) -> None:
        super().__init__(Column(no_wrap=True))
        self.end = end

    def render(self, task: Task) -> Text:
        """Return it in words; empty where nothing is known."""
        left = task.time_remaining
        return Text("" if left is None else f"{duration(min(left, self.end.left))} left")


class Screen:
    """A listener that draws events; use it as a context manager, so that the progress bar is taken down.

    Args:
        console: Where to draw.
        verbosity: -1 for errors only, 0 for warnings and progress, 1 for every number in it.
        end: When all is to be over: nothing is said to take longer.

    Attributes:
        written: Files that were written, in order.
    """

    def __init__(self, console: Console, verbosity: int = 0, end: Deadline = NEVER) -> None:
        self.console = console
        self.verbosity = verbosity
        self.end = end
        self.written: list[str] = []
        whole = Column(no_wrap=True)
        note = [TextColumn("{task.fields[note]}")] if console.width >= WIDE else []
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(BAR if note else BAR // 2),
            MofNCompleteColumn(table_column=whole), _Remaining(end), *note, console=console, transient=True,
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
        if event.stage == "report":
            self.written.append(event.message)
        if event.stage in ("report", "done"):
            self._stop()
        elif self.verbosity < 0:
            return
        elif event.stage == "warning":
            self.console.print(f"[yellow]warning:[/] {escape(event.message)}")
        elif event.plan:
            self._stop()
            print_plan(self.console, event.plan, self.end.left, reasons=self.verbosity > 0)
        elif event.step:
            self._advance(event)
        else:
            self._stop()
            self.stage = ""
            self.console.print(f"{TITLES.get(event.stage, event.stage)}: {escape(event.message)}")

    def _advance(self, event: Event) -> None:
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
        taken = event.step - first
        left = min((now - started) / max(taken, 1) * (event.total - event.step), self.end.left)
        ahead = f"about {duration(left)} left" if taken else ""
        parts = [f"{escape(title)} {event.step}/{event.total}", ahead, escape(note)]
        self.console.print(", ".join(filter(None, parts)))

    def _stop(self) -> None:
        if self.task is not None:
            self.progress.stop()
            self.progress.remove_task(self.task)
            self.task = None


def _shown(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name in ("loss", "change_ratio")}


def print_written(console: Console, paths: Sequence[str]) -> None:
    """Print the files that were written, one a line: no line is broken, so that each can be copied."""
    for path in paths:
        console.print(f"Wrote [bold]{escape(path)}[/]", soft_wrap=True)


def print_error(console: Console, error: MemauditError) -> None:
    """Print an error as one sentence and its hint."""
    hint = f" {escape(error.hint)}" if error.hint else ""
    console.print(f"[red]error:[/] {escape(error.message)}{hint}")
