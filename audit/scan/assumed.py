"""What was assumed, reported to the user before it is used."""

from collections.abc import Mapping

from ..events import Event, Listener
from ..families.base import Architecture
from ..report.facts import Fact
from .limitations import ASSUMED


def tell_assumed(facts: Mapping[str, Fact], architecture: Architecture, listener: Listener) -> None:
    """Warn once of every value that was neither given nor read, with the option that would give it."""
    assumed = {name: fact for name, fact in facts.items() if fact.source == "assumed"}
    told = [f"{name} = {fact.value} ({fact.option or fact.evidence})" for name, fact in assumed.items()]
    told += [f"{ASSUMED[fact]} (--model)" for fact in architecture.assumed if fact in ASSUMED]
    if told:
        listener(Event("warning", f"Assumed, as it was not given: {', '.join(told)}."))
