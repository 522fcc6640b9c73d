"""Ctrl-C and SIGTERM, remembered: code in C may lose the exception that a signal raises."""

import signal
from types import FrameType

_asked = False


def listen() -> None:
    """Raise :class:`KeyboardInterrupt` on SIGINT and SIGTERM, and remember that it was asked for."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def check() -> None:
    """Raise :class:`KeyboardInterrupt` if a signal asked for it, even where the first one was lost."""
    if _asked:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt
