"""All sentences together, held against all that the tables of words and places show."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .candidates import ends, exchanged, others, singles, unused
from .edits import Edit
from .evidence import Evidence, extent, with_token
from .refilling import refilled
from .whole import Whole

FEW, SINGLE, CLOSING = 6, 100, 4
"""Changes of each sort that are tried at once, of single tokens, and tokens behind the last one of a sentence."""

THOROUGH = 4
"""Times as many are tried, at any place, once these bring nothing more."""

CONFIRMED = 12
"""So many changes, the best half-way through training, are tried at all nodes."""

TOGETHER = (2, 4, 8)
"""So many of the best changes, of different sentences, are tried together."""

GAIN = 2e-3
"""A change counts if what is left falls by more than this share of it."""


def improved(whole: Whole, ids: Tensor, labels: Tensor, members: Tensor, thorough: bool) -> tuple[Tensor | None, float]:
    """Return sentences (n, L) after changes that explain more of what was read, and the share of that which is left.

    ``None`` where no change does.

    Args:
        whole: What was read.
        ids: The sentences, without gaps.
        labels: (n,) their classes.
        members: (n, t) which tokens stood in them: others are not tried.
        thorough: Any token is tried at any place.
    """
    parts = whole.parts(ids, labels)
    added, left = whole.explained(parts)
    gains = whole.promises(ids, labels, whole.besides(added))
    able = whole.middle.inner.expand_as(gains) if thorough else whole.middle.able() & members[:, None]
    times, closing = THOROUGH if thorough else 1, members[:, None] | thorough
    quotas = (times * SINGLE * whole.astray(added, members)).ceil().long().tolist()
    edits = [
        *singles(whole.middle, ids, gains.masked_fill(~able, -torch.inf), quotas),
        *ends(whole.middle, ids, gains.masked_fill(~(whole.middle.inner & closing), -torch.inf), times * CLOSING),
        *others(whole.middle, ids, gains - whole.target.square().sum() * ~able, times * max(FEW, len(ids))),
        *exchanged(whole.middle, ids),
        *unused(whole.middle, ids, whole.middle.able() & members[:, None]),
        *refilled(whole, ids, labels, whole.besides(added), able),
    ]
    kept = [edit for edit in edits if _kept(whole.middle, ids, edit.made(ids, labels)[0], thorough)]
    if not kept:
        return None, left
    first = _Tried.of(whole.halfway, whole.halfway.parts(ids, labels), ids, labels, kept)
    order = first.lefts.argsort().tolist()
    joined = _joined([kept[k] for k in order if first.lefts[k] < first.left])
    joined = [edit for edit in joined if _kept(whole.middle, ids, edit.made(ids, labels)[0], thorough)]
    return _Tried.of(whole, parts, ids, labels, [kept[k] for k in order[:CONFIRMED]] + joined).together()


@dataclass(frozen=True)
class _Tried:
    """Changes of sentences (n, L), and which share of what was read they leave, alone and together."""

    whole: Whole
    ids: Tensor
    labels: Tensor
    edits: list[Edit]
    parts: Tensor
    made: Tensor
    which: list[dict[int, int]]
    left: float
    lefts: Tensor

    @classmethod
    def of(cls, whole: Whole, parts: Tensor, ids: Tensor, labels: Tensor, edits: list[Edit]) -> "_Tried":
        numbers: dict[tuple[int, ...], int] = {}
        which: list[dict[int, int]] = []
        for edit in edits:
            made = edit.made(ids, labels)[0]
            keys = {row: (int(labels[row]), *made[row].tolist()) for row in edit.touched}
            which.append({row: numbers.setdefault(key, len(numbers)) for row, key in keys.items()})
        rows = torch.tensor(list(numbers))
        order = (rows != whole.middle.pad).sum(1).argsort()
        parts_of = [whole.parts(rows[some, 1:], rows[some, 0]) for some in torch.split(order, 32)]
        found = torch.cat(parts_of)[order.argsort()]
        lefts = whole.lefts(parts, found, [{}, *which])
        return cls(whole, ids, labels, edits, parts, found, which, float(lefts[0]), lefts[1:])

    def together(self) -> tuple[Tensor | None, float]:
        """Return sentences after the best changes, as many of different ones as help, and what is left."""
        order = [k for k in self.lefts.argsort().tolist() if float(self.lefts[k]) < self.left * (1 - GAIN)]
        apart: list[int] = []
        for k in order:
            if not any(self.which[k].keys() & self.which[other].keys() for other in apart):
                apart.append(k)
        if not apart:
            return None, self.left
        cases = [apart[:1], *(apart[:count] for count in TOGETHER if count // 2 < len(apart))]
        lefts = self.whole.lefts(self.parts, self.made, [_union([self.which[k] for k in case]) for case in cases])
        ids = self.ids
        for k in cases[int(lefts.argmin())]:
            ids = self.edits[k].made(ids, self.labels)[0]
        return ids, float(lefts.min())


def _union(cases: Sequence[dict[int, int]]) -> dict[int, int]:
    return {row: other for case in cases for row, other in case.items()}


def _joined(edits: list[Edit]) -> list[Edit]:
    """Return for each sentence its best changes of single tokens, two or more as one."""
    found: dict[int, dict[int, tuple[int, int, int]]] = {}
    for edit in edits:
        if len(edit.puts) == 1:
            row, place, _ = edit.puts[0]
            found.setdefault(row, {}).setdefault(place, edit.puts[0])
    sets = [list(puts.values()) for puts in found.values()]
    return [Edit(tuple(puts[:count])) for puts in sets for count in {2, 4, len(puts)} if 1 < count <= len(puts)]


def _kept(evidence: Evidence, ids: Tensor, made: Tensor, anywhere: bool) -> bool:
    """Return whether every token that stands where it alone can still does in other sentences (n, L), or anywhere."""
    known = evidence.places >= 0
    tokens, places = evidence.tokens[known], evidence.places[known]
    now = (ids[:, places] == tokens).any(0)
    then = torch.isin(tokens, made) if anywhere else (made[:, places] == tokens).any(0)
    return bool((then | ~now).all())


def whole_sentences(whole: Whole, ids: Tensor, labels: Tensor, members: Tensor) -> Tensor:
    """Return sentences (n, L) without gaps, each with an end: the tokens that promise most stand there."""
    evidence, made = whole.middle, ids.clone()
    gaps = torch.zeros_like(ids, dtype=torch.bool)
    for row, some in enumerate(made):
        used = extent(some, evidence.pad)
        if evidence.last >= 0 and int(some[used]) != evidence.last:
            used = min(used + 1, len(some) - 1)
            some[used] = evidence.last
        gaps[row, 1:used] = some[1:used] == evidence.pad
    able = evidence.able() & members[:, None]
    able = torch.where(able.any(2, keepdim=True), able, evidence.able())
    made = torch.where(gaps, evidence.tokens[able.int().argmax(2)], made)
    added, _ = whole.explained(whole.parts(made, labels))
    promise = whole.promises(made, labels, whole.besides(added), gaps).masked_fill(~able, -torch.inf)
    return torch.where(gaps, evidence.tokens[promise.argmax(2)], made)


def completed(whole: Whole, ids: Tensor, labels: Tensor) -> Tensor:
    """Return sentences (n, L) in which every token that stands at one place stands there, where it fits best.

    Training saw each of them, whatever the sentences explain without it.
    """
    evidence = whole.middle
    known = evidence.places >= 0
    for token, place in zip(evidence.tokens[known].tolist(), evidence.places[known].tolist(), strict=True):
        free = [row for row in range(len(ids)) if _free(evidence, ids, row, place)]
        if bool((ids[:, place] == token).any()) or not free:
            continue
        made = torch.stack([with_token(ids[row], place, token) for row in free])
        parts, others = whole.parts(ids, labels), whole.parts(made, labels[free])
        best = int(whole.lefts(parts, others, [{row: k} for k, row in enumerate(free)]).argmin())
        ids = ids.clone()
        ids[free[best]] = made[best]
    return ids


def _free(evidence: Evidence, ids: Tensor, row: int, place: int) -> bool:
    """Return whether a place of a sentence may hold another token: not one that stands there alone, in no other."""
    token = ids[row, place]
    alone = bool(evidence.stands(ids)[row, place]) and int((ids == token).sum()) == 1
    return extent(ids[row], evidence.pad) > place and not alone
