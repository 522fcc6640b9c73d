"""``memaudit scan-many``: a list of checkpoint pairs."""

from pathlib import Path
from typing import Annotated

import typer

from .exits import Ending
from .flat import flat
from .options import Executor, Terminal
from .panels import written


@flat()
def scan_many(
    ctx: typer.Context,
    pairs: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS.toml",
            help="[defaults] and a table [pairs.NAME] for each pair: before, after and options of memaudit scan.",
        ),
    ],
    *,
    executor: Executor = "local",
    out: Annotated[
        Path | None, written(metavar="DIR", help="Folder of the run folders. [default: memaudit-runs/PAIRS]")
    ] = None,
    terminal: Terminal,
    ending: Ending,
) -> None:
    """Audit a list of checkpoint pairs, a run folder each, and write a summary with the worst verdict first.

    The exit code is that of the worst verdict; 2 where a pair could not be audited, which does not stop the others. Run
    the same command again to resume.

    For example:

        memaudit scan-many pairs.toml --out audits/ --executor ray
    """
    from ..tasks.many import read_pairs
    from ..tasks.many import scan_many as run
    from .catalogue import catalogue
    from .console import Screen, make_console, print_written
    from .show import print_pairs

    folder = out or Path("memaudit-runs") / pairs.stem
    requests = read_pairs(pairs, catalogue(ctx, ["scan"]), folder)
    with Screen(make_console(), terminal.verbosity) as screen:
        found = run(requests, folder, executor, screen)
    console = make_console(answer=not terminal.as_json)
    print_pairs(console, found)
    print_written(console, screen.written[-1:] if terminal.quiet else screen.written)
    if terminal.as_json:
        typer.echo(found.to_json(), nl=False)
    if found.status == "error":
        raise typer.Exit(2)
    ending.leave(found.status)
