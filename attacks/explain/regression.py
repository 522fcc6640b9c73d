"""Which records does a change betray: the regression of the change on all their gradients at once.

Training adds up gradients of its records, so a change is explained by a weighted sum of them: records that were trained
on get positive weights, others weights around zero. One gradient alone says little, as records of a class have much in
common; a regression on all of them, as ImpMIA does on final weights (arXiv 2510.10625), takes what is common away. It
treats all records alike, so that a record that was not trained on is exchangeable with a held-out one.

A record's gradient changes along the way of training, so several averages over that way are tried, and count by how
much of the change their regressions explain: a choice that no record's role enters.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..contract.params import Params
from .gradients import Part

NODES = (0.0, 0.5, 1.0)
"""Shares of the way from before training to after it at which gradients are taken."""

AVERAGES = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.0), (1 / 6, 4 / 6, 1 / 6))
"""Weights of the nodes: the start alone, the first half, and Simpson's rule over the whole way."""

RIDGE = 0.1
"""Added to the Gram matrix of gradients of unit length."""

POWER = 2
"""An average over the way counts as the share that it explains to this power."""


@dataclass(frozen=True)
class Regression:
    """What the regression says of n records.

    Attributes:
        scores: (n,) how much the change betrays each record; of no unit, higher is more, float64.
        cosines: (n,) cosine of each record's average gradient with the change, in [-1, 1], the sign turned.
        leverage: (n,) share of each record's own gradient before training that no other one explains, in [0, 1].
        alike: (n, n) cosines of the records' average gradients with each other.
        explained: Share of the change that the best regression explains, in [0, 1].
        average: Index into :data:`AVERAGES` of the one that counts most.
    """

    scores: Tensor
    cosines: Tensor
    leverage: Tensor
    alike: Tensor
    explained: float
    average: int


def regress(nodes: Sequence[Mapping[str, Part]], change: Params) -> Regression:
    """Return what a change betrays of records.

    The regression is done twice, with all tensors as one and with each matrix alone, whose standardised weights are
    averaged: the first is stronger on wide networks, the second on deep ones.

    Args:
        nodes: Gradients of n records by every tensor, at each of :data:`NODES`: of records in question and of held-out
            ones, which are treated alike.
        change: Of the parameters, decay undone.
    """
    length = sum(float(value.double().square().sum()) for value in change.values())
    systems = [_System.joint(nodes, average) for average in AVERAGES]
    solved = [system.solve() for system in systems]
    shares = [float(weights @ system.right) / length for weights, system in zip(solved, systems, strict=True)]
    trust = torch.tensor(shares).double().clamp(min=1e-9) ** POWER
    both = [
        standard(weights) + _alone(nodes, average, change) for weights, average in zip(solved, AVERAGES, strict=True)
    ]
    best = int(trust.argmax())
    return Regression(
        scores=standard((trust[:, None].to(both[0]) * torch.stack(both)).sum(0)),
        cosines=systems[best].right / length**0.5,
        leverage=systems[0].leverage(),
        alike=systems[best].gram,
        explained=min(shares[best], 1.0),
        average=best,
    )


def _alone(nodes: Sequence[Mapping[str, Part]], average: Sequence[float], change: Params) -> Tensor:
    """Return the standardised sum of the weights that records get by each matrix alone; zeros where there is none."""
    names = [name for name, value in change.items() if value.dim() > 1]
    total = torch.zeros_like(nodes[0][next(iter(change))].along)
    for name in names:
        total = total + standard(_System.of([node[name] for node in nodes], average).solve())
    return standard(total)


def standard(values: Tensor) -> Tensor:
    """Return values with mean 0 and standard deviation 1; where all are equal, zeros."""
    return (values - values.mean()) / values.std().clamp(min=1e-12)


@dataclass(frozen=True)
class _System:
    """A ridge regression of a change on average gradients, all of unit length.

    Attributes:
        gram: (n, n) their inner products.
        right: (n,) those with the change, the sign turned: training goes against gradients.
    """

    gram: Tensor
    right: Tensor

    @classmethod
    def of(cls, nodes: Sequence[Part], average: Sequence[float]) -> "_System":
        """Return the system of one tensor."""
        return cls._scaled(*_averaged(nodes, average))

    @classmethod
    def joint(cls, nodes: Sequence[Mapping[str, Part]], average: Sequence[float]) -> "_System":
        """Return the system of all tensors together."""
        gram, along = (torch.zeros(()).double() for _ in range(2))
        for name in nodes[0]:
            more, further = _averaged([node[name] for node in nodes], average)
            gram, along = gram + more, along + further
        return cls._scaled(gram, along)

    @classmethod
    def _scaled(cls, gram: Tensor, along: Tensor) -> "_System":
        """A record whose gradient is zero gets a weight of zero."""
        length = gram.diagonal().clamp(min=0).sqrt()
        scale = torch.where(length > 0, 1 / length.clamp(min=1e-300), 0.0)
        return cls(gram * scale[:, None] * scale[None], -along * scale)

    def solve(self) -> Tensor:
        """Return (n,) the weights."""
        found: Tensor = torch.cholesky_solve(self.right[:, None], self._factor())[:, 0]
        return found

    def leverage(self) -> Tensor:
        """Return (n,) the diagonal of the hat matrix."""
        inverse: Tensor = torch.cholesky_inverse(self._factor())
        return (1 - RIDGE * inverse.diagonal()).clamp(0, 1)

    def _factor(self) -> Tensor:
        # Folded products are right on average only, so that the matrix may have slightly negative eigenvalues.
        ridged = self.gram + RIDGE * torch.eye(len(self.gram), dtype=self.gram.dtype, device=self.gram.device)
        factor: Tensor
        factor, wrong = torch.linalg.cholesky_ex(ridged)
        if not wrong:
            return factor
        values, vectors = torch.linalg.eigh(ridged)
        factor = torch.linalg.cholesky((vectors * values.clamp(min=RIDGE)) @ vectors.T)
        return factor


def _averaged(nodes: Sequence[Part], average: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return the Gram matrix (n, n) of average gradients of one tensor, and their inner products (n,) with a change."""
    used = [(part, weight) for part, weight in zip(nodes, average, strict=True) if weight]
    along = sum((weight * part.along for part, weight in used), torch.zeros_like(nodes[0].along))
    gram = torch.zeros(len(along), len(along)).to(along)
    for one, other, weight in _pairs(used):
        gram += weight * one.products(other)
    return (gram + gram.T) / 2, along


def _pairs(used: Sequence[tuple[Part, float]]) -> Iterator[tuple[Part, Part, float]]:
    for i, (one, weight) in enumerate(used):
        yield one, one, weight**2
        for other, more in used[:i]:
            yield one, other, 2 * weight * more
