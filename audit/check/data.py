"""Do the records of --data, prepared this way, explain the change of the parameters?

Asked before any attack: a verdict over records that the model was not trained on says nothing. What the data leave
unexplained is held against what as many held-out records leave, and altered copies of the data themselves.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from ...attacks.contract.params import Params
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ..data.base import TrainingSet
from ..events import Event, Listener, silence
from ..machine.alarm import TimeUp
from ..report.proof import Basis, Comparison, DataCheck
from ..scoring.kind import Kind
from .compare import OWN, Sets, Shares, disjoint, drawn, mean, size_of
from .measures import Measure, Unmeasured, by_gradients, by_layers, by_training
from .tokens import by_tokens

POWERS = (1.0, 6.0)
"""How much the strong directions of a change weigh: first nearly all of it, then what stands out of noise or Adam."""

UNTOLD = "Whether the data explain the change cannot be told"

HEAVY = 50_000_000
"""Numbers in all gradients of a set from which on fewer sets are measured."""

BETTER = math.log(0.8)
"""Another reading of the files counts only if it leaves at most this share of what the asked one leaves."""


@dataclass(frozen=True)
class Question:
    """Which change is to be explained by which records.

    Attributes:
        victim: The network.
        recipe: How it was trained, as far as is known.
        change: Of its parameters, decay undone.
        kind: What the records are.
        data: The records.
        control: Held-out ones.
    """

    victim: Victim
    recipe: Recipe
    change: Params
    kind: Kind
    data: TrainingSet
    control: TrainingSet | None = None

    def sets(self, records: Tensor) -> Sets:
        """Return the sets to measure where the data are read as ``records`` (n, ...)."""
        held_out = None if self.control is None else self.control.records
        size = size_of(len(records), None if held_out is None else len(held_out))
        chosen = disjoint(records, size, OWN)
        others, overlap = ((), 0.0) if held_out is None else drawn(held_out, size)
        return Sets(chosen, others, tuple(self.kind.mismatches(chosen[0])), overlap)


def check(question: Question, listener: Listener = silence) -> DataCheck:
    """Return whether the data explain the change, with the numbers that say so."""
    found, sets = DataCheck(explained=None, reason=f"{UNTOLD}."), question.sets(question.data.records)
    for basis, measure in _measures(question, sets):
        listener(Event("check", f"whether the data explain the change, by {basis}"))
        fewer = basis in ("gradients", "training") and _heavy(question, sets)
        used = replace(sets, altered=()) if basis == "tokens" else sets  # altered copies hold the same tokens
        try:
            found = _check(question, basis, measure, used.fewer() if fewer else used)
        except Unmeasured:
            continue
        except TimeUp:
            if found.basis is None:
                raise
            break
        if found.explained:
            break
    return found


def _measures(question: Question, sets: Sets) -> Iterator[tuple[Basis, Measure]]:
    tokens = by_tokens(question.victim, question.data.records) if sets.held_out else None
    if tokens is not None:
        yield "tokens", tokens
    for power in POWERS:
        layers = by_layers(question.victim, question.recipe, question.change, sets.size, power)
        if layers is not None:
            yield "layers", layers
    yield "gradients", by_gradients(question.victim, question.recipe, question.change)
    training = by_training(question.victim, question.recipe, question.change, sets.data[0])
    if training is not None:
        yield "training", training


def _check(question: Question, basis: Basis, measure: Measure, sets: Sets) -> DataCheck:
    shares = _measured(measure, sets)
    reading, read = _best_reading(question, measure, sets, shares.own)
    if reading:
        shares = replace(_measured(measure, replace(read, held_out=())), held_out=shares.held_out)
    return DataCheck(
        explained=shares.explain if sets.held_out or shares.explain else None,
        unexplained=_left(shares.own),
        basis=basis,
        reading=reading,
        comparisons=list(_comparisons(question, sets, shares)),
        reason=_reason(question, sets, shares),
    )


def _measured(measure: Measure, sets: Sets) -> Shares:
    own, held_out, altered = ([measure(part) for part in parts] for parts in (sets.data, sets.held_out, sets.altered))
    return Shares(own, held_out, altered, sets.overlap)


def _heavy(question: Question, sets: Sets) -> bool:
    return sum(value.numel() for value in question.victim.theta0.values()) * sets.size > HEAVY


def _best_reading(question: Question, measure: Measure, sets: Sets, asked: float) -> tuple[str, Sets]:
    """Return the reading of the files that leaves least of the change, where that is clearly less than as asked."""
    best, name, chosen = asked + BETTER, "", sets
    for reading in question.data.readings:
        read = question.sets(reading.records)
        own = mean([measure(part) for part in read.data[: len(sets.data)]])
        if own < best:
            best, name = own, reading.name
            chosen = replace(sets, data=read.data[: len(sets.data)], altered=read.altered)
    return name, chosen


def _comparisons(question: Question, sets: Sets, shares: Shares) -> Iterator[Comparison]:
    many = question.kind.about.words.many
    if shares.held_out:
        typical = _left(mean(shares.held_out))
        yield Comparison(name=f"held-out {many}", unexplained=typical, sets=len(sets.held_out))
    if shares.altered:
        least = _left(min(shares.altered))
        name = "the data, altered so that they cannot be right"
        yield Comparison(name=name, unexplained=least, sets=len(sets.altered))


def _left(part: float) -> float:
    """Return a share in [0, 1]; a training that goes the other way leaves everything."""
    return min(math.exp(part), 1.0)


def _reason(question: Question, sets: Sets, shares: Shares) -> str:
    many = question.kind.about.words.many
    own, others = (f"{1 - _left(part):.1%}" for part in (shares.own, mean(shares.held_out or [shares.others])))
    whom = f"held-out {many}" if shares.held_out else "altered copies of them"
    if shares.explain:
        return f"The data explain the change: {sets.size} {many} explain {own} of it, as many {whom} {others}."
    if not shares.held_out:
        return f"{UNTOLD} without held-out {many}: pass --control."
    altered = f", altered copies of them {1 - _left(min(shares.altered)):.1%}" if shares.altered else ""
    advice = f"how {many} were fitted and normalised, and the order of axes and channels"
    if not question.data.records.is_floating_point():
        advice = f"and that the tokenizer beside the weights is the one that split the {many}"
    return (
        f"The data do not explain the change clearly better than others: {sets.size} {many} explain {own} of it, as "
        f"many {whom} {others}{altered}. Check the folder and the split, {advice}."
    )
