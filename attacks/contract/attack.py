"""The vocabulary of the attacks: victim, recipe, state, reconstruction, and the contract of an attack.

Notation: n dummies, m training records, k classes, b batch size, S simulated steps, (c, h, w) an image. Where it says
(n, ...), the shape of one input follows (:attr:`.victim.Victim.shape`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from ... import MemauditError
from .card import Card
from .recipe import Recipe
from .victim import Victim


class Unsupported(MemauditError):
    """The attack cannot treat this victim or recipe; the message says why and what it could treat."""


MAX_TOLERANCE = 0.1
"""Cosine distance above which the paper calls a run stuck: no option may call that converged."""

ALPHA = "alpha"
"""The entry of a state's memory that holds the weight of the prior, which one attack hands on to another."""


def require(attack: object, positive: Sequence[str], others: Sequence[str] = ()) -> None:
    """Check an attack's options.

    Raises:
        ValueError: One named in ``positive`` is not, one of ``others`` is negative, or a tolerance is above
            :data:`MAX_TOLERANCE`.
    """
    for name in (*positive, *others):
        value = getattr(attack, name)
        if value < 0 or (name in positive and not value):
            raise ValueError(f"{name} must {'be positive' if name in positive else 'not be negative'}")
        if name == "tolerance" and value > MAX_TOLERANCE:
            raise ValueError(f"tolerance must be at most {MAX_TOLERANCE}")


def only(kind: str, what: str, victim: Victim) -> None:
    """Refuse a victim of other records than those of ``kind``, which are all that ``what`` can treat.

    Raises:
        Unsupported: Its medium is of another kind.
    """
    if victim.medium.kind != kind:
        raise Unsupported(f"{what} is for records of the kind {kind}, and these are of the kind {victim.medium.kind}.")


@dataclass(frozen=True)
class State:
    """Everything an attack carries from one step to the next: tensors and two numbers, so that it can be saved.

    Attributes:
        step: Steps taken so far.
        variables: What is optimised, e.g. ``x`` (n, ...).
        constants: Whole numbers, kept on the CPU, e.g. ``plan`` (S, b), drawn once, or ``labels`` (n,), rarely changed.
        memory: Optimiser moments and the best iterate so far.
        loss: The attacker-visible dissimilarity before the last update; lower is better, comparable between steps.
        terms: Named diagnostics, for display and for the search, e.g. ``change_ratio``.
        done: The attack's own schedule is over.
    """

    step: int
    variables: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    memory: Mapping[str, Tensor]
    loss: float = float("inf")
    terms: Mapping[str, float] = field(default_factory=dict)
    done: bool = False


@dataclass(frozen=True)
class Reconstruction:
    """What an attack claims the training data were.

    Attributes:
        records: (n, ...) what is scored and shown, such as pixels (n, c, h, w) in [0, 1].
        inputs: (n, ...) what the network sees: before it is turned into records; the paper scores these.
        labels: (n,) class indices.
        influence: (n,) norm of each dummy's summed gradient (SimuDy paper, section 4.5).
        loss: Attacker-visible loss of the iterate that these records come from.
        twins: (n,) booleans: dummies that only share the record of a more influential one; ``None`` if not looked for.
        doubt: Why a low loss is no evidence for the records, in a clause; empty where it is.
    """

    records: Tensor
    inputs: Tensor
    labels: Tensor
    influence: Tensor
    loss: float
    twins: Tensor | None = None
    doubt: str = ""


class Attack(Protocol):
    """A stepper: a frozen dataclass whose fields are its options and whose docstring cites the paper.

    It has no loop, no file and no screen; :func:`.drive.drive` owns those. What it says about itself is its card; one
    without a card runs on request.
    """

    name: ClassVar[str]
    card: ClassVar[Card]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def iterations(self) -> int:
        """Length of the attack's schedule, in steps."""
        ...

    @property
    def tolerance(self) -> float:
        """The attack counts as converged when its final loss is at most this."""
        ...

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Draw the dummies. Raises :class:`Unsupported` with the reason."""
        ...

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Return the state after one update of the dummies; ``state`` itself is untouched."""
        ...

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Read the reconstruction off a state, complete or not."""
        ...


@runtime_checkable
class Fitting(Protocol):
    """An attack that can do the same work in less memory, slower."""

    def fitted(self, victim: Victim, recipe: Recipe, state: State, limit: float) -> State:
        """Return ``state`` with a plan of work that ``limit`` bytes suffice for, beyond what is in use.

        Raises:
            Unsupported: No plan is small enough.
        """
        ...

    def smaller(self, state: State) -> tuple[State, str] | None:
        """Return ``state`` with the next smaller plan, and that plan's name; ``None`` if there is none."""
        ...


@runtime_checkable
class Starting(Protocol):
    """An attack that takes over another one's end by itself, whatever the shape of that one's variables."""

    def started(self, victim: Victim, recipe: Recipe, state: State, start: State) -> State:
        """Return a fresh ``state`` of its own with what the end ``start`` of another attack has learned."""
        ...


@runtime_checkable
class Uneven(Protocol):
    """An attack whose first updates are cheaper than its later ones: what they take does not tell what all take."""

    def slowdown(self, recipe: Recipe) -> float:
        """Return how much longer an update takes on average than the first ones; at least 1."""
        ...


def generator(seed: int) -> torch.Generator:
    """Return a CPU generator: random draws are made on the CPU so that every device sees the same numbers."""
    return torch.Generator().manual_seed(seed)
