"""The root of the command line: hands each command what is configured for it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .command import Commands

if TYPE_CHECKING:
    from ..settings import Configuration

CONFIGURED = ("scan", "infer", "gate", "report", "defend")
"""Commands whose options can be configured. A key means what it means in the first of them that has it."""


class Group(Commands):
    """The root of the command line: hands each command of :data:`CONFIGURED` what is configured for it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, and read the configuration unless it is only asked for help."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in CONFIGURED and not ctx.resilient_parsing and not {"--help", "-h"} & set(rest):
            from ..option import printable
            from ..settings import read, relative
            from .catalogue import catalogue

            options = catalogue(ctx, CONFIGURED)
            found = read(options, Path.cwd(), os.environ)
            ctx.default_map = {name: found.defaults(options, name)}
            if found.files and not _quiet(rest, found):
                names = ", ".join(printable(relative(file), 400) for file in found.files)
                typer.echo(f"Configuration: {names}", err=True)
        return name, command, rest


def _quiet(words: Sequence[str], found: "Configuration") -> bool:
    """Return whether the user asks for quiet; a file cannot hide itself."""
    told = found.settings.get("quiet")
    return "-q" in words or "--quiet" in words or bool(told and told.source == "environment" and told.value)
