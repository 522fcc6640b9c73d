"""Texts held against a causal language model from before and after training, by two forward passes of each."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from ...attacks.contract.params import Params
from ...attacks.contract.victim import Victim
from .pools import Pool, Told, split

ENTRIES = 2**26
"""Logits of one batch, at most, unless a single text has more: 256 MiB of float32."""

ERRORS = 2
"""Of fewer tokens that are guessed wrong nothing is told (as in the authors' code): then all tokens count."""


@dataclass(frozen=True)
class Texts:
    """Which language model is held against which texts, as :class:`.pools.Asking` has it.

    The score is the Error Zone score of EZ-MIA (Ilic et al. 2026, arXiv 2601.12104): with ``d_t`` what the
    log-probability of the text's own token ``t`` gained in training, over the tokens ``t`` that are not the trained
    network's first guess,

        gains = sum of d_t > 0,    losses = sum of -d_t > 0,    score = (gains - losses) / (gains + losses + 1),

    in (-1, 1). The paper's score is gains / losses, which orders texts in the same way but for the 1 (nat), which is
    ours: without it all texts without losses are alike, however small their gains. Where fewer than :data:`ERRORS`
    tokens are guessed wrong, the authors' code gives 0, as to a text of which nothing is known, and so to one that is
    known by heart; here all its tokens count. All texts are treated alike, so that p-values are exact whatever it is
    worth.

    Attributes:
        make: Returns the victim; what travels to other processes. Its module tells logits of all places as ``every``.
        data: (n, L) token numbers.
        control: (m, L) held-out ones.
        nothing: Stands behind the end of a text.
    """

    make: Callable[[], Victim]
    data: Tensor
    control: Tensor
    nothing: int
    score: ClassVar[str] = "gains of wrongly guessed tokens"
    work: ClassVar[str] = "two forward passes for each text"
    labelled: ClassVar[str] = ""
    _kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": {}}

    def pools(self) -> list[Tensor]:
        """Return the rows of the data that make each pool."""
        return split(len(self.data))

    def way(self, pool: Pool) -> str:
        """Return nothing: no gradient is taken anywhere."""
        return ""

    def measured(self, rows: Tensor, told: Told) -> Pool:
        """Return what one pool shows; of the change, and of leverage, nothing is known."""
        if "victim" not in self._kept:
            self._kept["victim"] = self.make()
        victim: Victim = self._kept["victim"]
        own = self._read(victim, self.data[rows], told)
        if "control" not in self._kept:
            self._kept["control"] = self._read(victim, self.control, told)
        others: dict[str, Tensor] = self._kept["control"]
        both = {name: torch.cat([own[name], others[name]]) for name in own}
        return Pool(
            rows=rows,
            scores=both.pop(self.score),
            others=both,
            leverage=torch.full((len(rows),), math.nan),
            explained=math.nan,
            average=0,
            copies=torch.zeros(len(self.control), dtype=torch.bool),
        )

    def _read(self, victim: Victim, texts: Tensor, told: Told) -> dict[str, Tensor]:
        """Return the scores (n,) of texts (n, L) by name, texts of similar length at a time."""
        lengths = (texts != self.nothing).sum(1)
        found: dict[str, Tensor] = {}
        for rows in _batches(lengths, victim.classes):
            part = _scores(victim, texts[rows, : max(int(lengths[rows].max()), 1)].to(victim.like.device), self.nothing)
            for name, values in zip((self.score, "loss after training", "fall of the loss"), part, strict=True):
                found.setdefault(name, torch.zeros(len(texts), dtype=torch.float64))[rows] = values.double().cpu()
            told(len(rows))
        return found


def _batches(lengths: Tensor, tokens: int) -> list[Tensor]:
    """Return rows of texts, the shortest first, so that no batch has more than :data:`ENTRIES` logits."""
    batches: list[list[int]] = [[]]
    for row in lengths.argsort(stable=True).tolist():
        if batches[-1] and (len(batches[-1]) + 1) * max(int(lengths[row]), 1) * tokens > ENTRIES:
            batches.append([])
        batches[-1].append(row)
    return [torch.tensor(rows) for rows in batches]


@torch.no_grad()
def _scores(victim: Victim, texts: Tensor, nothing: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the score, minus the mean loss after training, and how much that fell, (b,) each, of texts (b, L)."""
    before, _ = _told(victim, victim.theta0, texts)
    after, wrong = _told(victim, victim.thetaf, texts)
    there = texts[:, 1:] != nothing
    count = there.sum(1)
    mean = [
        torch.where(count > 0, (each * there).sum(1) / count.clamp(min=1), -math.log(victim.classes))
        for each in (before, after)
    ]
    return imbalance(after - before, wrong, there), mean[1], mean[1] - mean[0]


def imbalance(gained: Tensor, wrong: Tensor, there: Tensor) -> Tensor:
    """Return the score (b,) in (-1, 1) of :class:`Texts`.

    Args:
        gained: (b, t) what training added to the log-probability of each token.
        wrong: (b, t) whether the trained network guesses another token.
        there: (b, t) whether the token is one of the text.
    """
    zone = wrong & there
    zone = torch.where((zone.sum(1) < ERRORS)[:, None], there, zone)
    counted = torch.where(zone, gained, 0)
    return counted.sum(1) / (counted.abs().sum(1) + 1)


def _told(victim: Victim, params: Params, texts: Tensor) -> tuple[Tensor, Tensor]:
    """Return (b, L - 1) log-probabilities of the tokens behind the first, and whether another one is likelier."""
    given = {**victim.buffers, **params}
    logits = functional_call(victim.module, given, (texts,), {"every": True})[:, :-1]
    tokens = texts[:, 1:, None].clamp(min=0)
    return (logits.gather(2, tokens)[..., 0] - logits.logsumexp(2)), logits.argmax(2) != tokens[..., 0]
