"""``memaudit demo``: a leak to look at, in seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..events import Listener
from ..report.terms import EXIT_CODES
from .options import Open, Quiet, Terminal
from .panels import written

if TYPE_CHECKING:
    from ..report.model import AuditReport


def demo(
    out: Annotated[Path, written(help="Folder for checkpoints, images and reports.")] = Path("memaudit-demo"),
    text: Annotated[
        bool, typer.Option("--text", help="Sentences in place of photographs; needs the extra text.")
    ] = False,
    quiet: Quiet = False,
    open_: Open = False,
) -> None:
    """Train a small network on ten photographs, then reconstruct them from its two checkpoints. Takes seconds."""
    from .console import Screen, make_console
    from .outcome import conclude, page, show
    from .show import print_demo

    terminal = Terminal(quiet=quiet)
    with Screen(make_console(), terminal.verbosity) as screen:
        found = _task(text)(out, screen)
    conclude(found, screen.written, terminal, print_demo)
    if open_:
        show(page(screen.written))
    raise typer.Exit(0 if found.verdict.status == "fail" else EXIT_CODES["inconclusive"])


def _task(text: bool) -> "Callable[[Path, Listener], AuditReport]":
    if text:
        from ..tasks.demo_text import run_text_demo

        return run_text_demo
    from ..tasks.demo import run_demo

    return run_demo
