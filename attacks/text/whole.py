"""All that the tables of words and places show, and what sentences add to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .evidence import Evidence

NODES = (0.25, 0.75)
"""Shares of the way from before training to after it at which signals are taken, their weights free."""

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

    def besides(self, added: Tensor) -> Tensor:
        """Return (n, (t + L') F) what is left for each sentence to explain beside the others, of what each adds."""
        return self.target.flatten() - added.sum(0) + added

    def promises(self, ids: Tensor, labels: Tensor, besides: Tensor, gaps: Tensor | None = None) -> Tensor:
        """Return (n, L, t) how much more each token's own row would explain of what is left, if it stood at each place.

        What it changes elsewhere in its sentence is left out.

        Args:
            ids: (n, L) the sentences.
            labels: (n,) their classes.
            besides: (n, (t + L') F) what is left for each of them to explain.
            gaps: (n, L) places that are to be filled, whatever token of those that are known holds them.
        """
        left = besides.view(len(ids), *self.target.shape)
        signals = self.middle.given(ids, labels, gaps)
        words, places = left[:, : len(self.middle.tokens)], left[:, len(self.middle.tokens) :]
        rows = self.middle.rows(ids)[..., None]
        found = signals @ words.transpose(1, 2)
        inner = (found.gather(2, rows) * (ids != self.middle.pad)[..., None]).sum((1, 2))
        inner += (signals[:, : places.shape[1]] * places).sum((1, 2))
        size = signals.square().sum((1, 2)).clamp_min(1e-30)
        return (2 * inner / size)[:, None, None] * (found - found.gather(2, rows))
