"""``memaudit scan-many``: a list of checkpoint pairs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import AllowInconclusive, AsJson, ExecutorOption, ExitZero, Quiet, Verbose, exit_code


def scan_many(
    ctx: typer.Context,
    pairs: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS.toml",
            help="[defaults] and a table [pairs.NAME] for each pair: before, after and options of memaudit scan.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the run folders. [default: memaudit-runs/PAIRS]")
    ] = None,
    executor: ExecutorOption = "local",
    exit_zero: ExitZero = False,
    allow_inconclusive: AllowInconclusive = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    as_json: AsJson = False,
) -> None:
    """Audit a list of checkpoint pairs, a run folder each, and write a summary with the worst verdict first.

    The exit code is that of the worst verdict; 2 where a pair could not be audited, which does not stop the others. Run
    the same command again to resume.
    """
    from ..settings import catalogue
    from ..tasks.many import read_pairs
    from ..tasks.many import scan_many as run
    from .console import Screen, make_console, print_pairs

    commands: dict[str, Any] = ctx.find_root().command.commands  # type: ignore[attr-defined]
    folder = out or Path("memaudit-runs") / pairs.stem
    requests = read_pairs(pairs, catalogue({"scan": commands["scan"].callback}), folder)
    console = make_console()
    with Screen(console, -1 if quiet else verbose) as screen:
        found = run(requests, folder, executor, screen)
    print_pairs(console, found)
    if as_json:
        typer.echo(found.to_json(), nl=False)
    if found.status == "error":
        raise typer.Exit(2)
    raise typer.Exit(exit_code(found.status, exit_zero, allow_inconclusive))
