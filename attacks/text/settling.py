"""All sentences together, held against all that the tables of words and places show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .candidates import ends, exchanged, others, singles, unused
from .edits import Edit
from .evidence import Evidence, extent, with_token

NODES = (0.25, 0.75)
"""Shares of the way from before training to after it at which signals are taken, their weights free."""

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

_RIDGE = 1e-9


@dataclass(frozen=True)
class Whole:
    """What the tables show.

    Attributes:
        nodes: Tokens and what may stand where, at several points of the training.
        middle: The same half-way through it: there all changes are tried before the best are confirmed.
        places: (L', F) what was read of the places, L' at most L; of no rows where that does not show.
    """

    nodes: tuple[Evidence, ...]
    middle: Evidence
    places: Tensor

    @property
    def target(self) -> Tensor:
        """(t + L', F) what was read of tokens and places."""
        return torch.cat([self.middle.signals, self.places])

    @property
    def halfway(self) -> "Whole":
        """The same with signals taken at one point."""
        return replace(self, nodes=(self.middle,))

    def parts(self, ids: Tensor, labels: Tensor) -> Tensor:
        """Return (b, K, (t + L') F) what sentences would add to what was read, at each of K nodes."""
        return torch.stack([self._summed(ids, node.given(ids, labels)).flatten(1) for node in self.nodes], 1)

    def _summed(self, ids: Tensor, given: Tensor) -> Tensor:
        rows = self.middle.rows(ids)[..., None].expand_as(given)
        words = given.new_zeros(len(ids), len(self.middle.tokens), given.shape[2]).scatter_add(1, rows, given)
        return torch.cat([words, given[:, : len(self.places)]], 1)

    def explained(self, parts: Tensor) -> tuple[Tensor, float]:
        """Return (n, (t + L') F) what each sentence adds where all explain what was read best, and the share left.

        Of their ``parts`` (n, K, (t + L') F).
        """
        target = self.target.flatten()
        columns = parts.flatten(0, 1)
        gram = columns @ columns.T
        gram.diagonal().add_(_RIDGE * gram.diagonal().mean())
        weights = torch.linalg.solve(gram, columns @ target).view(len(parts), -1, 1)
        added = (weights * parts).sum(1)
        left = (target - added.sum(0)).square().sum() / target.square().sum().clamp_min(1e-30)
        return added, float(left)

    def lefts(self, parts: Tensor, made: Tensor, which: Sequence[dict[int, int]]) -> Tensor:
        """Return (c,) which share of what was read is left, if some sentences give way to others.

        Args:
            parts: (n, K, F) of the present sentences.
            made: (b, K, F) of those that may take their place.
            which: For each case, which of the present ones give way, and to which of the others.
        """
        columns, target = torch.cat([parts, made]).flatten(0, 1), self.target.flatten()
        gram, inner = columns @ columns.T, columns @ target
        rows = torch.tensor([[len(parts) + case[k] if k in case else k for k in range(len(parts))] for case in which])
        some = (rows[..., None] * parts.shape[1] + torch.arange(parts.shape[1])).flatten(1)
        square, wanted = gram[some[:, :, None], some[:, None, :]], inner[some]
        ridge = _RIDGE * square.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(some.shape[1]).to(square)
        power: Tensor = (wanted * torch.linalg.solve(square + ridge, wanted)).sum(1)
        return 1 - power / target.square().sum().clamp_min(1e-30)

    def astray(self, added: Tensor, members: Tensor) -> Tensor:
        """Return (n,) shares, of what is left, at the rows of the tokens (n, t) that stood in each sentence."""
        left = self.target.flatten() - added.sum(0)
        power = left.view_as(self.target).square().sum(1)[: len(self.middle.tokens)]
        found = members.to(power) @ power
        return found / found.sum().clamp_min(1e-30)

    def promises(self, ids: Tensor, labels: Tensor, added: Tensor, gaps: Tensor | None = None) -> Tensor:
        """Return (n, L, t) how much more each token's own row would explain of what is left, if it stood at each place.

        What it changes elsewhere in its sentence is left out.

        Args:
            ids: (n, L) the sentences.
            labels: (n,) their classes.
            added: (n, (t + L') F) what each of them explains.
            gaps: (n, L) places that are to be filled, whatever token of those that are known holds them.
        """
        left = (self.target.flatten() - added.sum(0) + added).view(len(ids), *self.target.shape)
        signals = self.middle.given(ids, labels, gaps)
        words, places = left[:, : len(self.middle.tokens)], left[:, len(self.middle.tokens) :]
        rows = self.middle.rows(ids)[..., None]
        found = signals @ words.transpose(1, 2)
        inner = (found.gather(2, rows) * (ids != self.middle.pad)[..., None]).sum((1, 2))
        inner += (signals[:, : places.shape[1]] * places).sum((1, 2))
        size = signals.square().sum((1, 2)).clamp_min(1e-30)
        return (2 * inner / size)[:, None, None] * (found - found.gather(2, rows))


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
    gains = whole.promises(ids, labels, added)
    able = whole.middle.inner.expand_as(gains) if thorough else whole.middle.able() & members[:, None]
    times, closing = THOROUGH if thorough else 1, members[:, None] | thorough
    quotas = (times * SINGLE * whole.astray(added, members)).ceil().long().tolist()
    edits = [
        *singles(whole.middle, ids, gains.masked_fill(~able, -torch.inf), quotas),
        *ends(whole.middle, ids, gains.masked_fill(~(whole.middle.inner & closing), -torch.inf), times * CLOSING),
        *others(whole.middle, ids, gains - whole.target.square().sum() * ~able, times * max(FEW, len(ids))),
        *exchanged(whole.middle, ids),
        *unused(whole.middle, ids, whole.middle.able() & members[:, None]),
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
    promise = whole.promises(made, labels, added, gaps).masked_fill(~able, -torch.inf)
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
