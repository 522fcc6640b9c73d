"""What a person gets at the end: the verdict and the reports on stdout, or JSON alone there."""

import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

import typer
from rich.console import Console

from ..report.model import AuditReport
from .console import make_console, print_written
from .options import Terminal
from .verdicts import print_verdict

PAGE = "report.html"
"""The page of every run folder."""


def conclude(
    report: AuditReport, written: Sequence[str], terminal: Terminal, tell: Callable[[Console, AuditReport], None]
) -> None:
    """Print the outcome of a scan: all of it, or with ``--quiet`` the verdict and where its page is.

    Args:
        report: What was found.
        written: The files that were written.
        terminal: How much is printed; with ``--json`` it goes to stderr, and the report to stdout.
        tell: Prints what was found.
    """
    console = make_console(answer=not terminal.as_json)
    if terminal.quiet:
        print_verdict(console, report.verdict)
        console.print(page(written), markup=False, soft_wrap=True)
    else:
        tell(console, report)
        print_written(console, written)
    if terminal.as_json:
        typer.echo(report.to_json(), nl=False)


def page(written: Sequence[str]) -> str:
    """Return the page of the run folder among the files that were written."""
    return next((path for path in written if Path(path).name == PAGE), "")


def show(path: str) -> None:
    """Open a page in the user's browser; say where it is if there is none."""
    if not webbrowser.open(Path(path).absolute().as_uri()):
        typer.echo(f"No browser was found to open {path}.", err=True)
