"""What the shell reports to listeners: the console, the run folder's log, a test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        stage: ``load``, ``exact``, ``search``, ``plan``, ``attack``, ``skip``, ``resume``, ``finish``, ``match``,
            ``report``, ``exposure``, ``linearity``, ``defend``, ``done`` or ``warning``.
        message: What is worked on, or the warning, in words.
        step: Steps done so far; 0 at the start of a stage.
        total: Steps of the whole; 0 where unknown.
        values: Numbers worth showing, such as the current loss.
        plan: What will run and what will not, as :class:`.results.PlanStep` dumps it.
    """

    stage: str
    message: str = ""
    step: int = 0
    total: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    plan: tuple[Mapping[str, Any], ...] = ()


Listener = Callable[[Event], None]


def silence(event: Event) -> None:
    """Ignore an event: the default listener."""
