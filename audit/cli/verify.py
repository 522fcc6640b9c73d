"""``memaudit verify``: whether a report is genuine."""

from typing import Annotated

import typer

from ..report.terms import EXIT_CODES
from .options import AsJson
from .panels import inputs


def verify(
    reports: Annotated[
        list[str], typer.Argument(metavar="REPORT...", help="report.json of a finished scan, or its run folder.")
    ],
    before: Annotated[
        str | None, inputs(help="Checkpoint before training. [default: the one that the report names]")
    ] = None,
    after: Annotated[
        str | None, inputs(help="Checkpoint after training. [default: the one that the report names]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that a report is as memaudit wrote it, and of these checkpoints. Exit code 1 where anything differs.

    It compares the report with its own digest, the pictures with the digests in their names, and the checkpoints with
    the digests in the report. A digest is not a signature: it shows accidents, not a forger who computes a new one.
    """
    import dataclasses
    from pathlib import Path

    from ..printable import json_text
    from ..verdict.verify import verify as check
    from .console import make_console

    def tell(path: str) -> None:
        make_console().print(f"Reading {path}, which the report names; --before and --after name others.", markup=False)

    found = {path: check(Path(path), before, after, tell) for path in reports}
    console, colours = make_console(answer=not as_json), {"ok": "green", "differs": "red", "unchecked": "yellow"}
    for path, checks in found.items():
        for item in checks:
            console.print(f"[{colours[item.status]}]{item.status:9}[/] ", end="")
            console.print(f"{path}: {item.what}: {item.detail}", markup=False)
    if as_json:
        plain = {path: [dataclasses.asdict(item) for item in checks] for path, checks in found.items()}
        typer.echo(json_text(plain))
    differs = any(item.status == "differs" for checks in found.values() for item in checks)
    raise typer.Exit(EXIT_CODES["fail" if differs else "pass"])
