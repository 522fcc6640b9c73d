"""Text from outside in our own markup, and a console that lets none of it act on the terminal."""

from collections.abc import Iterable
from typing import Any

from rich import markup
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ..printable import printable


def escape(text: str) -> str:
    """Return a text from outside as it may stand in markup: printable, on one line, and no markup itself."""
    return markup.escape(printable(text))


class PlainConsole(Console):
    """A console on which only Rich moves the cursor: texts printed without markup are made printable, and the rest."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; a text that is said to hold no markup is from outside."""
        if options.get("markup") is False:
            objects = tuple(printable(thing) if isinstance(thing, str) else thing for thing in objects)
        super().print(*objects, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return what is to be drawn, without anything that a terminal would obey."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.replace("\n", "").isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(printable, segment.text.split("\n"))), segment.style)

    def on_broken_pipe(self) -> None:
        """Leave it to the command line what a reader who has gone means; Rich would exit with 1."""
        raise BrokenPipeError
