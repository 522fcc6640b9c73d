"""The root of the command line: hands each command what is configured for it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from ..settings import COMMANDS, Configuration, _printable, _relative, catalogue, read


class Group(TyperGroup):
    """The root of the command line: hands each command of :data:`COMMANDS` what is configured for it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, and read the configuration unless it is only asked for help."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS and not ctx.resilient_parsing and "--help" not in rest:
            options = catalogue({key: found.callback for key, found in self.commands.items() if found.callback})
            found = read(options, Path.cwd(), os.environ)
            ctx.default_map = {name: found.defaults(options, name)}
            if found.files and not _quiet(rest, found):
                names = ", ".join(_printable(_relative(file), 400) for file in found.files)
                typer.echo(f"Configuration: {names}", err=True)
        return name, command, rest


def _quiet(words: Sequence[str], found: Configuration) -> bool:
    """Return whether the user asks for quiet; a file cannot hide itself."""
    told = found.settings.get("quiet")
    return "-q" in words or "--quiet" in words or bool(told and told.source == "environment" and told.value)
