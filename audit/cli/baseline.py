"""``memaudit baseline``: accept known findings, and fail on new ones."""

from pathlib import Path
from typing import Annotated

import typer

from .command import Command, Commands
from .exits import Ending
from .flat import flat
from .options import AsJson, FailOn, Report
from .panels import inputs

baseline = typer.Typer(
    cls=Commands,
    help="Accept known findings with a reason and a date of expiry, and fail on new ones.",
    no_args_is_help=True,
)

File = Annotated[Path, inputs("--baseline", metavar="FILE", help="The baseline, a TOML file to be reviewed.")]


@baseline.command(cls=Command)
def write(
    report: Report,
    reason: Annotated[str, typer.Option(help="Why the findings are accepted; written to the file.")],
    baseline: File = Path("memaudit-baseline.toml"),
    expires: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Last day of the acceptance. [default: in 90 days]")
    ] = None,
) -> None:
    """Accept every leak that a report shows, and write that into a file.

    The salt of an existing file is kept, so that its records can be told apart in reviews.
    """
    import datetime

    from ..files import write_text
    from ..report.file import load as load_report
    from ..verdict.baseline import accept, dump, expiry, load
    from .console import make_console

    today = datetime.datetime.now(datetime.UTC).date()
    salt = load(baseline).salt if baseline.exists() else None
    found = accept(load_report(report), reason, expiry(expires, today), salt)
    write_text(baseline, dump(found))
    count = len(found.accepted)
    make_console(answer=True).print(f"Wrote {baseline}: {count} finding{'s' * (count != 1)} accepted", markup=False)


@baseline.command(cls=Command)
@flat()
def check(
    report: Report,
    *,
    baseline: File = Path("memaudit-baseline.toml"),
    fail_on: FailOn = None,
    ending: Ending,
    as_json: AsJson = False,
) -> None:
    """Fail on leaks that are not accepted, or no longer: exit code 1. Without any, an inconclusive report is 3."""
    import dataclasses
    import datetime

    from ..printable import json_text
    from ..verdict.baseline import compare, decide, load
    from .console import make_console
    from .opened import opened
    from .verdicts import print_comparison

    console = make_console(answer=not as_json)
    found = opened(report, make_console())
    compared = compare(found, load(baseline), datetime.datetime.now(datetime.UTC).date())
    print_comparison(console, compared)
    status = decide(found, compared, fail_on or "low")
    if as_json:
        parts = dataclasses.asdict(compared)
        plain = {name: [item.model_dump(mode="json") for item in getattr(compared, name)] for name in parts}
        typer.echo(json_text({"status": status, **plain}))
    ending.leave(status)
