"""An end to work that looks at no clock: a long step, or the reading-off of a reconstruction."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN = 1.0
"""Seconds after which it rings again, where code in C lost the first one."""


class TimeUp(BaseException):
    """The time of the work in progress is over; no handler of errors takes it for one."""


@contextmanager
def alarm(deadline: float) -> Iterator[None]:
    """Raise :class:`TimeUp` in the block when :func:`time.monotonic` reaches ``deadline``.

    Signals reach the main thread only: in another one the block runs to its end. A timer that was running rings late
    if its time comes within the block.
    """
    if math.isinf(deadline) or threading.current_thread() is not threading.main_thread():
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
            signal.setitimer(signal.ITIMER_REAL, max(deadline - began, 1e-6), AGAIN)
            yield
        finally:
            within.clear()  # a ring from here on is too late
    except TimeUp as late:
        if isinstance(late.__context__, KeyboardInterrupt):
            raise late.__context__ from None
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-6), pause)
