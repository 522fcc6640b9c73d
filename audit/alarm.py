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

    Signals reach the main thread only: in another one the block runs to its end.
    """
    if math.isinf(deadline) or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 1e-6), AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeUp as late:
        if isinstance(late.__context__, KeyboardInterrupt):
            raise late.__context__ from None
        raise
    finally:
        signal.signal(signal.SIGALRM, before)


def _ring(number: int, frame: FrameType | None) -> None:
    raise TimeUp
