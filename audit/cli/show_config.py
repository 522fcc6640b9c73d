"""``memaudit config``: the value of every option, and where it comes from."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..profiles import Profile
from .group import CONFIGURED
from .options import AsJson
from .panels import limits


def config(
    ctx: typer.Context,
    profile: Annotated[Profile | None, limits(help="As scan with this profile would see it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the value of every option that is not on the command line, and where it comes from."""
    from ..printable import json_text
    from ..settings import read
    from .catalogue import catalogue

    options = catalogue(ctx, CONFIGURED)
    found = read(options, Path.cwd(), os.environ)
    settings = found.complete(options, profile)
    if as_json:
        rows = {
            key: {"value": item.value, "source": item.source, "where": item.where, "commands": [*options[key].commands]}
            for key, item in settings.items()
        }
        typer.echo(json_text({"files": [str(file) for file in found.files], "options": rows}))
        return
    from rich.table import Table

    from ..times import seconds, written
    from .console import make_console
    from .markup import escape

    table = Table("option", "value", "from")
    table.columns[0].no_wrap = True
    for key, item in settings.items():
        style = "dim" if item.source == "default" else ""
        value = written(item.value) if options[key].read is seconds and item.value else item.value
        table.add_row(key, escape(_shown(value)), escape(item.where), style=style)
    make_console(answer=True).print(table, soft_wrap=False)


def _shown(value: Any) -> str:
    """Return a value as it is written in TOML, one list item per line; nothing where there is none."""
    if isinstance(value, list):
        return "\n".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
