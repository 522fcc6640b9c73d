"""What tables of embeddings show of the texts that a network was trained on: tokens, their number, and how long."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...attacks.text.reading import read
from ...attacks.text.tables import Tables, moved, shrinkage, undecayed
from ..families.base import tensor_names
from ..report.facts import Fact
from .movement import Signal
from .readings import Readings

_LEFT = 0.5
"""Weight decay explains the rows that training did not see, if it leaves at most this share of their change."""

_ALIKE = 2.0
"""And if it leaves of nine rows in ten at most so many times as much as of one in ten: each step rounds all alike."""

_ROUNDED = 8.0
"""Rounding alone explains what is at most so many times that of the type."""


@dataclass(frozen=True)
class Reached:
    """The rows of a table of embeddings that training reached.

    Attributes:
        table: Name of the tensor in the checkpoint.
        rows: (t,) their numbers, ascending, the row of the padding left out.
        of: How many rows the table has.
        decay: The factor by which weight decay scaled all others; 1 where these are equal bit for bit.
        exact: Whether all that training saw must show: no decay and no coarse rounding hides a row.
    """

    table: str
    rows: Tensor
    of: int
    decay: float
    exact: bool


def words_reached(found: Readings) -> Reached | None:
    """Return the tokens that training saw; ``None`` where there is no table of words, or it does not show them."""
    return _reached(found, "word")


def read_words(found: Readings) -> dict[str, Fact]:
    """Return ``tokens_seen``, ``length`` and ``sequences_at_least``, as far as the tables show them."""
    words, places = words_reached(found), _reached(found, "place")
    facts = {}
    if words is not None:
        facts["tokens_seen"] = Fact(
            value=len(words.rows),
            source="inferred",
            confidence=0.99 if words.exact else 0.9,
            evidence=f"{_moved(words)}; a token's row moves where training saw the token, and only there",
        )
    if places is not None:
        facts["length"] = _length(found, places)
    if words is not None and places is not None and (bound := _sequences(found, words)):
        facts["sequences_at_least"] = bound
    return facts


def _reached(found: Readings, which: str) -> Reached | None:
    """Return the rows of a table that moved, where rows that did not move, or only decayed, stand against them."""
    table = _table(found, which)
    if table is None or table.status in ("frozen", "decayed"):
        return None
    before, after = table.before, table.after
    seen = moved(before, after)
    still = ~seen & before.any(1)
    if not still.any():
        return None
    start, change, left = (part[still].double() for part in (before, after - before, undecayed(before, after)))
    if _size(left) > _ROUNDED * table.noise and not _decayed(start, change, left):
        return None
    if found.architecture is not None and which == "word":
        seen[found.architecture.layout["pad"]] = False
    rows = seen.nonzero().flatten()
    decay = shrinkage(before, after) if bool(change.any()) else 1.0
    return Reached(table.name, rows, len(before), decay, decay == 1 and table.fine) if len(rows) else None


def _decayed(start: Tensor, change: Tensor, left: Tensor) -> bool:
    """Return whether weight decay explains the change (s, D) of rows, from what it leaves: alike in all of them."""
    if _size(left) > _LEFT * _size(change):
        return False
    shares = torch.linalg.vector_norm(left, dim=1) / torch.linalg.vector_norm(start, dim=1)
    few, most = shares.quantile(shares.new_tensor([0.1, 0.9])).tolist()
    return bool(most <= _ALIKE * few)


def _table(found: Readings, which: str) -> Signal | None:
    """Return the tensor that a network's layout names as its table of words or of places."""
    name = found.architecture.layout.get(which, "") if found.architecture else ""
    if not name or found.victim is None:
        return None
    known = tensor_names(found.victim.module, found.pair.before.tensors).get(name)
    return next((s for s in found.parameters if s.name == known and s.before.ndim == 2), None)


def _size(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _moved(table: Reached) -> str:
    others = "the others are equal bit for bit"
    if table.decay != 1:
        others = f"the others were only scaled, by {table.decay:.7g}, as weight decay does, and rounded"
    return f"{len(table.rows):,} of {table.of:,} rows of {table.table} moved; {others}"


def _length(found: Readings, places: Reached) -> Fact:
    """Return the number of tokens of the longest sequence, those that begin and end it counted."""
    offset = found.architecture.layout.get("offset", 0) if found.architecture else 0
    count = int(places.rows[-1]) + 1 - offset
    words = f"{_moved(places)}; the last that did is that of place {count}: no sequence was longer"
    return Fact(value=count, source="inferred", confidence=0.99 if places.exact else 0.9, evidence=words)


def _sequences(found: Readings, words: Reached) -> Fact | None:
    """Return how many sequences there are at least: as many as single tokens stand at one place."""
    subject, architecture = found.victim, found.architecture
    if subject is None or architecture is None or not found.is_sgd or len(words.rows) >= subject.shape[-1]:
        return None
    layout = architecture.layout
    word, place = (str(layout[which]).removesuffix(".weight") for which in ("word", "place"))
    reading = read(subject, Tables(word, place, layout["offset"], ()))
    known = reading.places[reading.places > 0] if reading else torch.zeros(0, dtype=torch.long)
    count = int(known.bincount().max()) if len(known) else 0
    if count < 2:
        return None
    where = int(known.bincount().argmax()) + 1
    evidence = (
        f"{count} tokens stand at place {where} alone, so each in a sequence of its own, as least squares of the "
        f"changes of places on those of {words.table} tell; there may be more"
    )
    return Fact(value=count, source="inferred", confidence=0.85, evidence=evidence)
