"""``memaudit demo``: a leak to look at, in seconds."""

from pathlib import Path
from typing import Annotated

import typer

from ..report.terms import EXIT_CODES
from .options import Quiet
from .panels import written


def demo(
    out: Annotated[Path, written(help="Folder for checkpoints, images and reports.")] = Path("memaudit-demo"),
    quiet: Quiet = False,
) -> None:
    """Train a small network on ten photographs, then reconstruct them from its two checkpoints. Takes seconds."""
    from ..tasks.demo import run_demo
    from .console import Screen, make_console
    from .show import print_demo

    console = make_console()
    with Screen(console, -1 if quiet else 0) as screen:
        found = run_demo(out, screen)
    print_demo(console, found, out)
    raise typer.Exit(0 if found.verdict.status == "fail" else EXIT_CODES["inconclusive"])
