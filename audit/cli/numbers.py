"""The words for numbers that the page has too, in characters that every terminal can show."""

from collections.abc import Callable
from typing import ParamSpec

from .. import words

P = ParamSpec("P")

PLAIN = str.maketrans({"–": "-", "−": "-", "…": "..."})


def _plain(say: Callable[P, str]) -> Callable[P, str]:
    def said(*args: P.args, **more: P.kwargs) -> str:
        return say(*args, **more).translate(PLAIN)

    return said


NOTHING = "-"
number, fixed, percent = _plain(words.number), _plain(words.fixed), _plain(words.percent)
duration, memory, plain = _plain(words.duration), _plain(words.memory), _plain(words.plain)
