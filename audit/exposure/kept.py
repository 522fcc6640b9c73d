"""Finished pools, kept in the run folder: a measurement that was killed goes on where it was."""

from dataclasses import dataclass

from torch import Tensor

from ...attacks.contract.attack import State
from ..run.store import Job, Store, StoreError, key
from .pools import Pool


@dataclass(frozen=True)
class Shelf:
    """Where the pools of one question are kept."""

    store: Store
    question: str

    def place(self, rows: Tensor) -> Job:
        """Return the place of a pool of these rows of the data."""
        return self.store.job(key("exposure", self.question, rows.tolist()))


def keep(job: Job, pool: Pool) -> None:
    """Keep a finished pool. Raises :class:`StoreError` where it cannot be written."""
    tensors = {"rows": pool.rows, "scores": pool.scores, "leverage": pool.leverage, "copies": pool.copies}
    state = State(1, tensors, {}, pool.others, pool.explained, {"average": float(pool.average)}, done=True)
    job.save(state, {})


def kept(job: Job, like: Tensor) -> Pool | None:
    """Return the pool that lies in a place; ``None`` where none does, or one that cannot be believed."""
    try:
        found = job.load(like)
    except StoreError:
        return None
    if found is None:
        return None
    state = found[0]
    return Pool(
        rows=state.variables["rows"],
        scores=state.variables["scores"],
        others=dict(state.memory),
        leverage=state.variables["leverage"],
        explained=state.loss,
        average=int(state.terms["average"]),
        copies=state.variables["copies"],
    )
