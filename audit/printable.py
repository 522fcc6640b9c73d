"""Text from outside, made fit for a terminal, a log or a page: one line, no control, nothing that a CI system obeys."""

import json
import re
from typing import Any

LONGEST = 2000
"""Characters of a text that are shown; what is longer is cut."""

_COMMANDS = re.compile(r"::(?=[\w-]+(?: [^:]*)?::)|##(?=\[|vso\[)")
"""How lines begin that GitHub and Azure take for commands."""


def printable(text: str, longest: int = LONGEST) -> str:
    r"""Return a text on one line, its invisible characters as escapes: ``\x1b``, ``\n``, ``\u202e``.

    These are controls, line breaks, marks that turn the direction of writing, and halves of surrogate pairs. A command
    for a CI system is broken by a blank, and a text that is too long ends in a mark.
    """
    cut = text if len(text) <= longest else f"{text[:longest]}…"
    if not cut.isprintable():
        cut = "".join(mark if mark.isprintable() else _escaped(mark) for mark in cut)
    return _COMMANDS.sub(lambda found: " ".join(found[0]), cut)


def json_text(content: Any) -> str:
    """Return plain data as JSON on many lines, without one at the end: in ASCII alone, whatever its texts hold.

    So no control and no mark that turns the direction of writing acts on a terminal, and no line on a CI system, while
    who parses it finds the texts as they are.
    """
    text = json.dumps(content, indent=2).replace("\x7f", r"\u007f")
    return re.sub(r"#(?=\[|vso\[)", r"\\u0023", text)


def _escaped(mark: str) -> str:
    return mark.encode("unicode_escape").decode()
