"""From pools of scores to what a report says of the exposure of records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..data.base import TrainingSet
from ..events import Event, Listener
from ..machine.alarm import TimeUp, alarm
from ..machine.means import Limits, Means
from ..report.exposure import Epsilon, Exposed, Exposure, Group, Separation
from ..report.kind import Words
from ..run.store import Job
from ..scoring.chance import q_values
from ..scoring.levels import LEVEL
from . import statistics
from .kept import Shelf, keep, kept
from .pools import Asking, Pool
from .sentences import said
from .statistics import Flags, Values

TOGETHER = 0.1
"""With so many held-out records that single ones are told where this share of the data lies above all of them."""


@dataclass(frozen=True)
class Asked:
    """What is asked beside the question itself.

    Attributes:
        data: The records of the question, with their names.
        words: For records of this kind.
        groups: (n,) a name for each record's group; empty where the classes are the groups.
        by_chance: Whether a coin decided which records were trained on.
    """

    data: TrainingSet
    words: Words
    groups: tuple[str, ...] = ()
    by_chance: bool = False


def measure(question: Asking, asked: Asked, means: Means, shelf: Shelf) -> Exposure:
    """Return how exposed the records are, of as many of them as there is time for.

    Pools are measured wherever the executor works, with the same numbers; finished ones are found again.
    """
    items = [(rows, shelf.place(rows)) for rows in question.pools()]
    listener = _Counted(means.listener, question.work, len(question.data) + len(question.control))
    work = partial(_measured, question, means.limits)
    return summary(question, asked, [pool for pool in means.executor.map(work, items, listener) if pool is not None])


def _measured(question: Asking, limits: Limits, item: tuple[Tensor, Job], listener: Listener) -> Pool | None:
    """Return what one pool shows; ``None`` where time is up."""
    rows, job = item
    if (old := kept(job, rows)) is not None:
        return old
    if limits.deadline.over:
        return None
    try:
        with alarm(limits.deadline):
            found = question.measured(rows, lambda count: listener(Event("exposure", "", step=count)))
    except TimeUp:
        return None
    keep(job, found)
    return found


class _Counted:
    """Turns lots of records into steps of the whole."""

    def __init__(self, listener: Listener, work: str, total: int) -> None:
        self.listener, self.work, self.total, self.done = listener, work, total, 0
        listener(Event("exposure", work, 0, total))

    def __call__(self, event: Event) -> None:
        if event.stage != "exposure":
            self.listener(event)
            return
        self.done = min(self.done + event.step, self.total)
        self.listener(Event("exposure", self.work, self.done, self.total))


def summary(question: Asking, asked: Asked, pools: Sequence[Pool]) -> Exposure:
    """Return what pools say together. Each record is held against the held-out ones of its own pool."""
    table = _Table.of(pools)
    detected = table.q <= LEVEL
    found = Exposure(
        records=len(question.data),
        measured=len(table.rows),
        held_out=len(question.control),
        detected=int(detected.sum()),
        level=LEVEL,
        at_least=sum(statistics.at_least(own, others, 0.05 / len(pools)) for own, others in table.parts("")),
        needed=round(1 / (LEVEL * TOGETHER)) - 1,
        explained=float(np.mean([pool.explained for pool in pools])) if pools else None,
        average=question.way(pools[0]) if pools else "",
        labels=question.labelled,
        own=_separation(question.score, table.parts("")),
        baselines=[_separation(name, table.parts(name)) for name in (pools[0].others if pools else ())],
        curve=statistics.curve(*_joined(table.parts(""))) if pools else [],
        scores=statistics.quantiles(_joined(table.parts(""))[0]) if pools else [],
        held_out_scores=statistics.quantiles(_joined(table.parts(""))[1]) if pools else [],
        groups=list(_groups(asked, table, detected)),
        copies=int(torch.stack([pool.copies for pool in pools]).any(0).sum()) if pools else 0,
        epsilon=_epsilon(table) if asked.by_chance and pools else None,
        per_record=list(_rows(asked, table, detected)),
        reason="",
    )
    return found.model_copy(update={"reason": said(found, asked.words)})


@dataclass(frozen=True)
class _Table:
    """Every measured record: (n,) arrays in the order of the data.

    ``pools`` are what they are from, each with the scores of its own records and of the held-out ones.
    """

    rows: Values
    score: Values
    p: Values
    q: Values
    leverage: Values
    pools: Sequence[Pool]

    @classmethod
    def of(cls, pools: Sequence[Pool]) -> "_Table":
        parts = [_split(pool, pool.scores) for pool in pools]
        rows = np.concatenate([pool.rows.numpy() for pool in pools]) if pools else np.zeros(0, int)
        order = np.argsort(rows)
        score = np.concatenate([own for own, _ in parts])[order] if pools else np.zeros(0)
        p = np.concatenate([statistics.conformal(*part) for part in parts])[order] if pools else np.zeros(0)
        leverage = np.concatenate([pool.leverage.cpu().numpy() for pool in pools])[order] if pools else np.zeros(0)
        return cls(rows[order], score, p, q_values(p), leverage, pools)

    def parts(self, name: str) -> list[tuple[Values, Values]]:
        """Return a score of records and of held-out ones, pool by pool; the regression's where it has no name."""
        return [_split(pool, pool.others[name] if name else pool.scores) for pool in self.pools]


def _split(pool: Pool, values: Tensor) -> tuple[Values, Values]:
    numbers = values.double().cpu().numpy()
    return numbers[: len(pool.rows)], numbers[len(pool.rows) :]


def _joined(parts: Sequence[tuple[Values, Values]]) -> tuple[Values, Values]:
    return np.concatenate([own for own, _ in parts]), np.concatenate([others for _, others in parts])


def _separation(name: str, parts: Sequence[tuple[Values, Values]]) -> Separation:
    """Return how well a score separates, each pool held against its own held-out records."""
    if not parts:
        return Separation(name=name)
    own, others = _joined(parts)
    area, reach = statistics.auc(own, others)
    first, second = (_share(parts, fpr) for fpr in (0.01, 0.001))
    return Separation(
        name=name,
        auc=area,
        auc_interval=reach,
        tpr_at_1_fpr=first,
        tpr_at_1_fpr_interval=statistics.interval(first, len(own)),
        tpr_at_01_fpr=second,
    )


def _share(parts: Sequence[tuple[Values, Values]], fpr: float) -> float | None:
    found = [(statistics.tpr(own, others, fpr), len(own)) for own, others in parts]
    known = [(share, size) for share, size in found if share is not None]
    return sum(share * size for share, size in known) / sum(size for _, size in known) if known else None


def _groups(asked: Asked, table: _Table, detected: Flags) -> Iterator[Group]:
    """Return classes or given groups, the most exposed first; held against all held-out records."""
    names = np.array([asked.groups[row] if asked.groups else _label(asked.data, row) for row in table.rows], object)
    others = _joined(table.parts(""))[1] if table.pools else np.zeros(0)
    found = []
    for name in sorted({name for name in names if name}):
        own = names == name
        area = statistics.auc(table.score[own], others)[0]
        found.append(Group(name=name, records=int(own.sum()), detected=int(detected[own].sum()), auc=area))
    yield from sorted(found, key=lambda group: -(group.auc or 0))


def _rows(asked: Asked, table: _Table, detected: Flags) -> Iterator[Exposed]:
    for i in np.lexsort((-table.score, table.p)):
        row = int(table.rows[i])
        yield Exposed(
            record=row,
            name=asked.data.names[row],
            label=_label(asked.data, row),
            score=round(float(table.score[i]), 4),
            p_value=float(table.p[i]),
            q_value=float(table.q[i]),
            detected=bool(detected[i]),
            leverage=round(float(table.leverage[i]), 4),
        )


def _label(data: TrainingSet, row: int) -> str:
    label = int(data.labels[row])
    if label < 0:
        return ""
    return data.class_names[label] if label < len(data.class_names) else str(label)


def _epsilon(table: _Table) -> Epsilon:
    value, guesses, right = statistics.epsilon(*_joined(table.parts("")[:1]))
    return Epsilon(value=value, guesses=guesses, right=right)
