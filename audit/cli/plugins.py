"""``memaudit plugins``: what is installed."""

import typer

from .options import AsJson


def plugins(as_json: AsJson = False) -> None:
    """List what is installed: attacks with their options, model families, data sources, report formats."""
    from ..printable import json_text
    from ..tasks.inspect import list_plugins
    from .console import make_console
    from .show import print_plugins

    found = list_plugins()
    if as_json:
        typer.echo(json_text(found))
    else:
        print_plugins(make_console(answer=True), found)
