"""Records held against held-out ones, a pool at a time, so that work and memory do not depend on how many there are.

The regression treats all records of a pool alike. Every pool has the same held-out records beside its own part of the
data; which record is in which pool is drawn, as folders are in the order of their classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from ...attacks.contract.attack import generator
from ...attacks.contract.victim import Victim
from ...attacks.explain.gradients import ENTRIES, Gradients, Part, joined
from ...attacks.explain.records import learned
from ...attacks.explain.regression import NODES, regress
from ...attacks.explain.residual import Residuals
from ...attacks.layers.inputs import middle
from ...attacks.simulation.losses import Objective, each_loss
from .sentences import LABELS_GIVEN, LABELS_READ

POOL, HELD_OUT = 1000, 2000
"""Most records of the data in one pool, and most held-out ones."""

KEPT = 0.75 * 2**30
"""Bytes of folded gradients of one pool: the more there is room for, the less is lost."""

LOT = 100
"""Records between two reports of progress."""

NEAR = 0.99
"""Cosine of gradients from which a held-out record counts as nearly a copy of some record of the data."""

Told = Callable[[int], None]
"""Hears how many more records were read."""


@dataclass(frozen=True)
class Pool:
    """What a pool shows: of its records of the data first, then of the held-out ones.

    Attributes:
        rows: (n,) indices of its records of the data.
        scores: (n + m,) by the regression.
        others: Simpler scores by name, each (n + m,).
        leverage: (n,) see :class:`.regression.Regression`.
        explained: Share of the change that is explained.
        average: Index of the average over the way of training.
        copies: Held-out records that are nearly copies of some record of the pool.
    """

    rows: Tensor
    scores: Tensor
    others: dict[str, Tensor]
    leverage: Tensor
    explained: float
    average: int
    copies: Tensor


class Asking(Protocol):
    """Records, and how a pool of them is held against held-out ones; it may be answered in any process."""

    @property
    def data(self) -> Tensor:
        """(n, ...) records."""
        ...

    @property
    def control(self) -> Tensor:
        """(m, ...) held-out ones."""
        ...

    @property
    def score(self) -> str:
        """What is measured of a record, as a title."""
        ...

    @property
    def work(self) -> str:
        """What is done meanwhile, in words."""
        ...

    @property
    def labelled(self) -> str:
        """Where the records' labels are from, in words; empty where none are used."""
        ...

    def pools(self) -> list[Tensor]:
        """Return the rows of the data that make each pool."""
        ...

    def way(self, pool: Pool) -> str:
        """Return in words where on the way of training it was measured; empty where there is no such place."""
        ...

    def measured(self, rows: Tensor, told: Told) -> Pool:
        """Return what one pool shows; ``told`` hears how many more records were read."""
        ...


def split(count: int) -> list[Tensor]:
    """Return the rows of so many records that make each pool: as few pools as may be, of nearly equal size."""
    order = torch.randperm(count, generator=generator(0))
    return [part.sort().values for part in order.tensor_split(-(-count // POOL))]


@dataclass(frozen=True)
class Question:
    """Which change is held against which records.

    Attributes:
        make: Returns the victim; what travels to other processes.
        shrink: Factor by which weight decay shrank the parameters, 1 for none.
        goal: What training minimised, and over how many versions of each image gradients are averaged.
        data: (n, ...) records.
        data_labels: (n,) their classes; ``None`` where they are read off what training taught, of all records alike.
        control: (m, ...) held-out ones.
        control_labels: (m,) theirs.
    """

    make: Callable[[], Victim]
    shrink: float
    goal: Objective
    data: Tensor
    control: Tensor
    data_labels: Tensor | None = None
    control_labels: Tensor | None = None
    score: ClassVar[str] = "regression on gradients"
    work: ClassVar[str] = "gradients of single records"
    _kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": {}}

    def pools(self) -> list[Tensor]:
        """Return the rows of the data that make each pool."""
        return split(len(self.data))

    @property
    def labelled(self) -> str:
        """Where labels are from."""
        return LABELS_READ if self.data_labels is None else LABELS_GIVEN

    def way(self, pool: Pool) -> str:
        """Say where on the way of training gradients were taken."""
        return ("at its start", "over its first half", "over its whole way")[pool.average]

    @property
    def entries(self) -> int:
        """Entries to which the gradients of one record are folded."""
        most = max(map(len, self.pools())) + len(self.control)
        return max(int(KEPT / (4 * len(NODES) * most)), ENTRIES)

    def measured(self, rows: Tensor, told: Told) -> Pool:
        """Return what one pool shows."""
        labels = None if self.data_labels is None else self.data_labels[rows]
        own = self._read(self.data[rows], labels, told)
        if "control" not in self._kept:
            self._kept["control"] = self._read(self.control, self.control_labels, told)
        both = own.beside(self._kept["control"])
        found = regress(both.nodes, self._subject()[0].change)
        return Pool(
            rows=rows,
            scores=found.scores,
            others={"cosine with the change": found.cosines, **both.simpler()},
            leverage=found.leverage[: len(rows)],
            explained=found.explained,
            average=found.average,
            copies=(found.alike[len(rows) :, : len(rows)] > NEAR).any(1),
        )

    def _subject(self) -> tuple[Gradients, Residuals]:
        if "subject" not in self._kept:
            victim = self.make()
            change = {name: victim.thetaf[name] - self.shrink * victim.theta0[name] for name in victim.delta}
            gradients = Gradients(victim, change, self.goal, self.entries)
            self._kept["subject"] = gradients, Residuals(victim, change)
        found: tuple[Gradients, Residuals] = self._kept["subject"]
        return found

    def _read(self, records: Tensor, labels: Tensor | None, told: Told) -> "_Read":
        gradients, spans = self._subject()
        victim, parts, views = gradients.victim, [], self.goal.views
        for rows in torch.split(torch.arange(len(records)), LOT):
            x = victim.medium.encode(records[rows].to(victim.like))
            y = learned(victim, x) if labels is None else labels[rows].to(x.device)
            with torch.no_grad():
                before, after = (
                    each_loss(victim.logits(params, x), y, self.goal) for params in (victim.theta0, victim.thetaf)
                )
            seen = victim.medium.versions(x, views, generator(0)).view(len(x), views, *x.shape[1:])
            nodes = [gradients.read(middle(victim, node), seen, y) for node in NODES]
            parts.append(_Read(nodes, before, after, spans.of(x)))
            told(len(rows))
        return _Read.joined(parts)


@dataclass(frozen=True)
class _Read:
    """What was computed of some records, (n,) each: gradients at each node, losses at both ends, residuals."""

    nodes: list[dict[str, Part]]
    before: Tensor
    after: Tensor
    residual: Tensor

    @classmethod
    def joined(cls, parts: "Sequence[_Read]") -> "_Read":
        nodes = [
            {name: joined([part.nodes[node][name] for part in parts]) for name in parts[0].nodes[node]}
            for node in range(len(NODES))
        ]
        rest = ([getattr(part, name) for part in parts] for name in ("before", "after", "residual"))
        before, after, residual = map(torch.cat, rest)
        return cls(nodes, before, after, residual)

    def beside(self, other: "_Read") -> "_Read":
        return self.joined([self, other])

    def simpler(self) -> dict[str, Tensor]:
        """Return scores that need no regression; higher is more exposed."""
        return {
            "loss after training": -self.after,
            "fall of the loss": self.before - self.after,
            "inputs within the change": -self.residual,
        }
