"""How commands show their help: at once, with options in panels and examples as they are written."""

import inspect
import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

EXAMPLES = re.compile(r"\n\n(?=    )")
"""Where an indented paragraph begins."""


class Command(TyperCommand):
    """A command whose options are in panels (``rich_help_panel``), in plain text: loading Rich for it takes long."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the help; indented paragraphs, which are examples, keep their lines."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(EXAMPLES.sub("\n\n\b\n", inspect.cleandoc(self.help or "")))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, one section for each panel, in the order in which they are declared."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            title = getattr(parameter, "rich_help_panel", None) or f"{parameter.param_type_name.title()}s"
            if record := parameter.get_help_record(ctx):
                panels.setdefault(title, []).append(record)
        for title, records in panels.items():
            with formatter.section(title):
                formatter.write_dl(records)


class Commands(TyperGroup):
    """A group of commands that needs no pydantic until one of them runs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before the command, where an absent switch is ``False``: Typer has pydantic read a None."""
        for option in self.get_params(ctx):
            option.default = option.default or False
        return super().parse_args(ctx, args)
