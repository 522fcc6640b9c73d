"""``memaudit demo``: a leak to look at, in seconds."""

from pathlib import Path
from typing import Annotated

import typer

from ..report.terms import EXIT_CODES
from .options import Open, Quiet, Terminal
from .panels import written


def demo(
    out: Annotated[Path, written(help="Folder for checkpoints, images and reports.")] = Path("memaudit-demo"),
    quiet: Quiet = False,
    open_: Open = False,
) -> None:
    """Train a small network on ten photographs, then reconstruct them from its two checkpoints. Takes seconds."""
    from ..tasks.demo import run_demo
    from .console import Screen, make_console
    from .outcome import conclude, page, show
    from .show import print_demo

    terminal = Terminal(quiet=quiet)
    with Screen(make_console(), terminal.verbosity) as screen:
        found = run_demo(out, screen)
    conclude(found, screen.written, terminal, print_demo)
    if open_:
        show(page(screen.written))
    raise typer.Exit(0 if found.verdict.status == "fail" else EXIT_CODES["inconclusive"])
