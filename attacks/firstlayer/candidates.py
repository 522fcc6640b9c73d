"""Candidates for single records: which of them pass, and which were found before.

In the memory of an attack's state, as in :mod:`.held`, with ``found`` (k, r) the records that were found, ``signals``
(k, r) the unit signals of each and ``exact`` (r, e) the exact directions of those that the constant ``owners`` (e,)
names; ``tried`` (b,) are the labels that its variable ``w`` (b, r) is tried with (docs/decisions/0019-pursuit.md).
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..contract.attack import State
from ..contract.victim import Victim
from .certificate import certified
from .reduced import highest
from .single import Single

PASSES, NEAR = 0.1, 0.4
"""A candidate passes if its signals lie outside by less than this share of what a stranger's do on average, and is near
enough to be tried for an exact direction by the second one: long trainings leave more outside."""

WORK, FEWEST = 2e9, 8
"""Candidates times unknown numbers to the third that are tried for exact directions after a round; at least so many."""

ALIKE = 0.5
"""Cosine, at least, of an exact direction's signals and those that the candidate should have left."""

APART = (0.7, 0.85)
"""Cosine of two records' signals from which a candidate is pushed away from a known one, and from which it is that
one: those of different records stay below 0.77."""


def free(w: Tensor, known: Mapping[str, Tensor]) -> Tensor:
    """Return candidates (b, r) without their components along the exact directions: no known record is among them."""
    exact = known["exact"]
    if not exact.shape[1]:
        return w
    across: Tensor = torch.linalg.qr(exact).Q.to(w)
    return w - (w @ across) @ across.T


def taken(victim: Victim, tests: Single, state: State) -> State:
    """Return the state with the candidates that pass, or lead to an exact direction, and were not found before."""
    known, tried = state.memory, state.constants["tried"]
    w = aligned(free(state.variables["w"], known), known)
    beyond, signals = tests.proof(w * known["scale"], tried)
    room = 1 - len(known["scale"]) / len(known["basis"])
    rows = _unlike(beyond, signals, known["signals"], NEAR * room)
    most = max(int(WORK / len(known["scale"]) ** 3), FEWEST)
    points = w[rows[:most]].double() * known["scale"]
    sure = certified(known["basis"], highest(victim, tests.layer, points, known["before"], known["after"]))
    pairs = zip(sure.owners.tolist(), sure.q.T, strict=True)
    owned = {number: q for number, q in pairs if float((signals[rows[number]] @ q.to(signals)).abs()) > ALIKE}
    kept = [number for number, row in enumerate(rows) if number in owned or float(beyond[row]) < PASSES * room]
    kept = kept[: len(known["scale"]) - len(known["found"])]
    chosen = torch.tensor([rows[number] for number in kept], dtype=torch.long)
    places = [place for place, number in enumerate(kept, len(known["found"])) if number in owned]
    exact = [owned[number][:, None] for number in kept if number in owned]
    memory = {
        **known,
        "found": torch.cat([known["found"], w[chosen]]),
        "signals": torch.cat([known["signals"], signals[chosen]]),
        "exact": torch.cat([known["exact"], *exact], 1),
    }
    labels = torch.cat([state.constants["labels"], tried[chosen]])
    owners = torch.cat([state.constants["owners"], torch.tensor(places, dtype=torch.long)])
    if 2 * len(owners) >= len(known["scale"]):  # then every record has an exact direction, or is none
        memory |= {name: memory[name][owners] for name in ("found", "signals")}
        labels, owners = labels[owners], torch.arange(len(owners))
    return replace(state, constants={**state.constants, "labels": labels, "owners": owners}, memory=memory)


def _unlike(beyond: Tensor, signals: Tensor, known: Tensor, most: float) -> list[int]:
    """Return the candidates with less than ``most`` beyond that differ from known ones and each other, best first."""
    rows: list[int] = []
    for row in beyond.argsort().tolist():
        marks = torch.cat([known, signals[rows]])
        if float(beyond[row]) < most and not bool((marks @ signals[row] > APART[1]).any()):
            rows.append(row)
    return rows


def aligned(w: Tensor, known: Mapping[str, Tensor]) -> Tensor:
    """Return candidates (b, r), free of exact directions, that fulfil what the bias shows: ``w offset = 1``."""
    offset = known["offset"]
    if not len(offset):
        return w
    along = free(offset[None], known)[0].to(w)
    reach = along @ offset.to(w)
    if float(reach) <= 1e-6 * float(offset @ offset):
        return w
    return w + (1 - w @ offset.to(w))[:, None] * along / reach
