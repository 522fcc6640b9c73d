"""Where pieces of work are done: in this process, in one per GPU, or on a Ray cluster. The numbers are the same.

An executor's ``map`` calls a function with each item and a listener, and returns the results in the order of the items.
The function may be a :func:`functools.partial` of data, which a Ray cluster is sent once for all calls. Items that
depend on one another are not in one call.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from ... import MemauditError
from ..events import Event, Listener

Item = TypeVar("Item")
Result = TypeVar("Result")
Function = Callable[[Item, Listener], Result]

RETRIES = 5
"""How often an item is started again after its process died; it resumes from its last saved state."""


class ExecutorError(MemauditError):
    """There is no such executor, or it broke down."""


class Executor(Protocol):
    """Does pieces of work."""

    @property
    def width(self) -> int:
        """How many items are worked on at once."""
        ...

    def map(self, function: Function[Item, Result], items: Iterable[Item], listener: Listener) -> list[Result]:
        """Return what ``function`` gives for each item. An error in one of them ends the others."""
        ...


@dataclass(frozen=True)
class Local:
    """One item after the other, in this process; an item is made when its turn comes."""

    width: int = 1

    def map(self, function: Function[Item, Result], items: Iterable[Item], listener: Listener) -> list[Result]:
        """Return what ``function`` gives for each item."""
        return [function(item, listener) for item in items]


LOCAL = Local()


@dataclass
class Together:
    """A listener that shows the steps of several pieces of work, told apart by their messages, as those of one.

    Attributes:
        listener: Hears of them.
        done: Steps taken before.
        total: Steps of all, as far as can be predicted.
    """

    listener: Listener
    done: int = 0
    total: int = 0
    latest: dict[str, Event] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Hear one event."""
        if not event.step:
            self.listener(event)
            return
        self.latest[event.message] = event
        running = [found.message for found in self.latest.values() if found is event or found.step < found.total]
        step = self.done + sum(found.step for found in self.latest.values())
        total = max(self.total, self.done + sum(found.total for found in self.latest.values()))
        self.listener(dataclasses.replace(event, message="; ".join(running), step=step, total=total))


@contextmanager
def safe_path() -> Iterator[None]:
    """Keep the current folder, which may be a stranger's, from what Python processes import that the block starts."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def throttled(tell: Callable[[Event], Any], clock: Callable[[], float], pause: float = 0.25) -> Listener:
    """Return a listener that passes on every event, of single steps at most one per ``pause`` seconds and the last."""
    spoke = -pause

    def listener(event: Event) -> None:
        nonlocal spoke
        if event.step and event.step < event.total and clock() - spoke < pause:
            return
        spoke = clock()
        tell(event)

    return listener
