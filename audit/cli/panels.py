"""The panels that group options on a help screen: each declares an option of its panel."""

from functools import partial

import typer

inputs = partial(typer.Option, rich_help_panel="Inputs")
training = partial(typer.Option, rich_help_panel="What you know of the training")
attacks = partial(typer.Option, rich_help_panel="Attacks")
defences = partial(typer.Option, rich_help_panel="Defences")
limits = partial(typer.Option, rich_help_panel="Limits")
written = partial(typer.Option, rich_help_panel="Output")
gate = partial(typer.Option, rich_help_panel="Gate")
