"""Interrupts work that does not watch the time itself: a long step, or reading out a reconstruction."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .clock import NEVER, Deadline

AGAIN = 1.0
"""Seconds between repeated alarms, as code in C may lose the exception that the first one raises."""


class TimeUp(BaseException):
    """The time of the work in progress is over. No ``except Exception`` catches it."""


@contextmanager
def alarm(deadline: Deadline) -> Iterator[None]:
    """Raise :class:`TimeUp` in the block when ``deadline`` has come.

    Signals reach the main thread only: in another one the block runs to its end. A timer of the caller that expires
    within the block is delayed until after it.
    """
    if deadline == NEVER or threading.current_thread() is not threading.main_thread():
        yield
        return
    began, within = time.monotonic(), [True]

    def ring(number: int, frame: FrameType | None) -> None:
        if within:
            raise TimeUp

    left, pause = signal.setitimer(signal.ITIMER_REAL, 0)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, max(deadline.left, 1e-6), AGAIN)
            yield
        finally:
            within.clear()  # an alarm from here on is too late
    except TimeUp as late:
        if isinstance(late.__context__, KeyboardInterrupt):
            raise late.__context__ from None
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-6), pause)
