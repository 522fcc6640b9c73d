"""The panels that group options on a help screen: each declares an option of its panel."""

from functools import partial, wraps

import typer

from ..times import seconds

inputs = partial(typer.Option, rich_help_panel="Inputs")
training = partial(typer.Option, rich_help_panel="What you know of the training")
attacks = partial(typer.Option, rich_help_panel="Attacks")
defences = partial(typer.Option, rich_help_panel="Defences")
limits = partial(typer.Option, rich_help_panel="Limits")
written = partial(typer.Option, rich_help_panel="Output")
gate = partial(typer.Option, rich_help_panel="Gate")


@wraps(seconds)
def _time(value: str | float) -> float:
    """Say of which option it is that a text is not a time."""
    try:
        return seconds(value)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


timed = partial(limits, metavar="TIME", parser=_time)
"""An option that takes a stretch of time."""
