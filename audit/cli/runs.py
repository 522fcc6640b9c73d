"""``memaudit runs``: which run folders there are, and deleting one."""

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson
from .panels import written

PLACE = Path("memaudit-runs")


def runs(
    place: Annotated[
        Path, typer.Argument(metavar="[PLACE]", help="Folder that holds run folders, itself or further down.")
    ] = PLACE,
    delete: Annotated[
        Path | None,
        written(metavar="FOLDER", help="Delete this run folder: pictures, states and reports. Asks nothing."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List run folders: which pair, when, the verdict, the size. They hold personal data: delete what is done with.

    For example:

        memaudit runs
        memaudit runs --delete memaudit-runs/KEY
    """
    import dataclasses

    from ..printable import json_text
    from ..tasks.runs import delete as remove
    from ..tasks.runs import list_runs
    from .console import make_console
    from .show import print_deleted, print_runs

    console = make_console(answer=not as_json)
    if delete is not None:
        gone = remove(delete)
        print_deleted(console, delete, gone)
        found: object = dataclasses.asdict(gone)
    else:
        listed = [] if place == PLACE and not place.exists() else list_runs(place)
        if not as_json:
            print_runs(console, place, listed)
        found = [dataclasses.asdict(run) for run in listed]
    if as_json:
        typer.echo(json_text(found))
