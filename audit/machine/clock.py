"""When time is over: one moment, the same in every process."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Deadline:
    """The end of a stretch of time.

    Within a process it goes by the monotonic clock, which cannot be set. It is pickled as a moment of the wall clock,
    which other processes and machines share. Deadlines are ordered: the smaller one comes first.

    Attributes:
        at: :func:`time.monotonic` value of the end, in seconds; infinity for never.
        began: The same of the beginning.
    """

    at: float = math.inf
    began: float = field(default=0.0, compare=False)

    @classmethod
    def after(cls, seconds: float | None, began: float | None = None) -> "Deadline":
        """Return the end of a stretch.

        Args:
            seconds: How long it is; ``None`` for one that never ends.
            began: :func:`time.monotonic` value of its beginning; now by default.
        """
        start = time.monotonic() if began is None else began
        return cls(math.inf if seconds is None else start + seconds, start)

    @property
    def left(self) -> float:
        """Seconds until then, not negative."""
        return max(self.at - time.monotonic(), 0.0)

    @property
    def over(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.at

    def part(self, share: float) -> "Deadline":
        """Return the end of the first ``share``, in [0, 1], of this stretch."""
        return Deadline(self.began + share * (self.at - self.began), self.began)

    def earlier(self, seconds: float) -> "Deadline":
        """Return the deadline that lies ``seconds`` before this one."""
        return Deadline(self.at - seconds, self.began)

    def __reduce__(self) -> tuple[Callable[[float, float], "Deadline"], tuple[float, float]]:
        ahead = time.time() - time.monotonic()
        return _arrived, (self.at + ahead, self.began + ahead)


def _arrived(at: float, began: float) -> Deadline:
    """Return a deadline from moments of the wall clock."""
    ahead = time.time() - time.monotonic()
    return Deadline(at - ahead, began - ahead)


NEVER = Deadline()
