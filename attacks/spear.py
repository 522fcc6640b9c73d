"""SPEAR on a parameter change: exact training inputs of a first linear layer before ReLUs, without any simulation."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .contract.attack import Reconstruction, State, Unsupported, generator, require
from .contract.card import Card, Sight
from .contract.recipe import Recipe
from .contract.victim import Victim
from .explain.labels import guess
from .firstlayer.certificate import AGREEMENT, ZERO, agreement, certified
from .firstlayer.features import FITTED, invert
from .firstlayer.reduced import highest, likely_labels, projected, rectified, reduced
from .firstlayer.subspace import Layer, first_layer, subspace
from .optimise.descent import reconstruction

LARGEST = 24
"""Training samples beyond which the search does not end in time: each one more doubles it."""

STARTS = 128
"""Proposals a step."""

ROUNDS = 40
"""Rounds of reweighted least squares that make a proposal sparse."""

INDEPENDENT = 0.02
"""A direction counts as new if at least this much of it lies outside the span of those already chosen."""


def _joins(sight: Sight) -> tuple[bool, str]:
    if sight.unseen:
        return False, sight.unseen
    if sight.size > LARGEST:
        return False, f"{sight.size} samples; the search doubles with each and is feasible up to {LARGEST}"
    return True, f"exact; {sight.samples}"


@dataclass(frozen=True)
class Spear:
    """SPEAR (Dimitrov et al., NeurIPS 2024, sections 3 and 4), on the change of the parameters over a whole training.

    The change of a first linear layer before ReLUs is ``D X`` with D (width, n) the summed signals, sparse because a
    unit that is inactive for a sample has none from it. In an orthonormal basis U of its columns every column of D is
    ``U q``; sparse ones are looked for from random rows of U by iteratively reweighted least squares (in place of the
    paper's random subsets of rows, whose number grows as 2^n), refined on their zeros, and the sparsest independent n
    are taken. They are right if the units with a signal are those that are active for the inputs that follow; else
    the search continues. Works for any number of steps and batches of SGD, with momentum and weight decay.

    Attributes:
        iterations: Most batches of proposals.
        largest: Most training samples; with each one more, sparse directions are harder to find.
        inversion: Where the layer is fed by a frozen part of the network: updates that turn features into images.
        tolerance: The attack counts as converged when its loss is at most this: 0 when a complete set of directions
            agrees with the units that are active, else the share of those not found.
    """

    name: ClassVar[str] = "spear"
    card: ClassVar[Card] = Card(
        goal="Individual training records, exactly: from the sparsity of the first layer's change.",
        knowledge="That training was SGD on a network with ReLUs; neither learning rate nor labels.",
        source="Dimitrov et al., NeurIPS 2024",
        reads="first layer",
        exact=True,
        blind=True,
        rule=_joins,
        place=10,
    )
    iterations: int = 40
    largest: int = LARGEST
    inversion: int = 300
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        require(self, ("iterations", "largest"), ("inversion", "tolerance"))

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Read the row space of the data. Raises :class:`.Unsupported` where it is not exact, or n is too large."""
        found = subspace(victim, recipe)
        if not rectified(victim, found.layer):
            raise Unsupported(
                f"no ReLUs follow {found.layer.path}, so no unit is silent for a sample.",
                "span needs none, simudy not even a linear layer.",
            )
        if not found.count:
            raise Unsupported(
                "the weights are rounded so coarsely that the number of training samples does not show exactly.",
                "span needs no exact rank.",
            )
        if found.count > self.largest:
            raise Unsupported(
                f"the change shows {found.count} training samples, more than the {self.largest} that spear "
                "searches for.",
                "span takes more; spear.largest raises the limit.",
            )
        if found.bias_change is None:
            raise Unsupported(
                f"{found.layer.path} has no trained bias, which shows how strong each sample is.",
                "span finds the strength by simulation.",
            )
        basis = (found.change @ found.rows.T) / found.values
        before, after = projected(victim, found.layer, found.rows)
        offset = torch.linalg.lstsq(basis, found.bias_change[:, None]).solution[:, 0]
        memory = {
            "rows": found.rows, "values": found.values, "basis": basis, "before": before, "after": after,
            "offset": offset,
        }  # fmt: skip
        recipe = recipe if found.count == recipe.size else replace(recipe, size=found.count, labels=None)
        constants = {"seed": torch.tensor(seed), "labels": guess(victim, recipe, generator(seed))}
        return State(0, {"q": basis.new_zeros(len(found.values), 0)}, constants, memory)

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """One batch of proposals, added to the sparsest independent directions so far."""
        basis, seed = state.memory["basis"], int(state.constants["seed"])
        gen = generator((seed * 100_003 + state.step) % 2**63)
        with torch.no_grad():
            q = _chosen(basis, torch.cat([state.variables["q"], _proposals(basis, gen)], 1))
            if q.shape[1]:
                guided = certified(basis, _highest(victim, state, _inputs(state, q))).q
                q = _chosen(basis, torch.cat([q, guided], 1))
            count, wanted = q.shape[1], basis.shape[1]
            right = count == wanted and agreement(basis, q, _highest(victim, state, _inputs(state, q))) >= AGREEMENT
        loss = 0.0 if right else max(1 - count / wanted, 1 / wanted)
        step = state.step + 1
        terms = {"directions": float(count)}
        return State(step, {"q": q}, state.constants, state.memory, loss, terms, right or step >= self.iterations)

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Return the inputs of a complete set of directions; without one, their part in the span of those found."""
        layer, q = first_layer(victim), state.variables["q"]
        inputs = _inputs(state, q).to(victim.like)
        influence = _amounts(state, q).abs().to(inputs) * torch.linalg.vector_norm(inputs, dim=1)
        if layer.features:
            x = invert(victim, layer, inputs, generator(0), self.inversion)
        else:
            x = inputs.view(len(inputs), *victim.shape)
        labels = _labels(victim, layer, state, inputs) if state.loss <= 0 else state.constants["labels"][: len(x)]
        found = reconstruction(victim, x, labels, influence, state.loss)
        return replace(found, doubt=FITTED if layer.features else "")


def _labels(victim: Victim, layer: Layer, state: State, inputs: Tensor) -> Tensor:
    """Return the labels of exact inputs (k, d)."""
    known, q = state.memory, state.variables["q"]
    network = reduced(victim, layer, known["before"], known["after"])
    signals = (known["basis"] @ (q * _amounts(state, q))).T
    return likely_labels(network, inputs.double() @ known["rows"].T, signals, known["before"])


def _proposals(basis: Tensor, gen: torch.Generator) -> Tensor:
    """Return (r, p) sparse directions from random starts: unit vectors q with many zeros in ``basis q``.

    Minimises the sum of ``|u q|^p`` over the rows u with p = 1/2 by reweighted least squares (Chartrand and Yin, 2008),
    with the smoothing shrunk in every round; each round is one step of inverse iteration.
    """
    width, rank = basis.shape
    live = basis[torch.linalg.vector_norm(basis, dim=1) > 1e-6 * float(basis.norm()) / math.sqrt(width)]
    rows = torch.randint(len(live), (STARTS,), generator=gen).to(live.device)
    q = normalize(live[rows] + 0.3 * live[rows.flip(0)], dim=1)
    ridge = 1e-9 * torch.eye(rank).to(live)
    smoothing = (q @ live.T).abs().median(1, keepdim=True).values
    for _ in range(ROUNDS):
        weights = ((q @ live.T).square() + smoothing.square()).pow(-0.75)
        weights = weights / weights.mean(1, keepdim=True)
        gram = torch.einsum("pw,wi,wj->pij", weights, live, live) + ridge
        q = normalize(torch.linalg.solve(gram, q[:, :, None])[:, :, 0], dim=1)
        smoothing = smoothing * 0.8
    return q.T


def _chosen(basis: Tensor, q: Tensor) -> Tensor:
    """Return (r, k <= r) the sparsest independent directions, each the null vector of the rows that it makes zero."""
    signals = (basis @ q).abs()
    zeros = signals < ZERO * signals.amax(0)
    counts = zeros.sum(0)
    enough = counts > 1.1 * basis.shape[1]
    kept: list[Tensor] = []
    span = basis.new_zeros(basis.shape[1], 0)
    for place in counts.argsort(descending=True, stable=True).tolist():
        if not enough[place] or len(kept) == basis.shape[1]:
            continue
        rest = q[:, place] - span @ (span.T @ q[:, place])
        if float(torch.linalg.vector_norm(rest)) < INDEPENDENT:
            continue
        rows = basis[zeros[:, place]]
        kept.append(torch.linalg.eigh(rows.T @ rows).eigenvectors[:, 0])
        span = torch.linalg.qr(torch.stack(kept, 1)).Q
    return torch.stack(kept, 1) if kept else q[:, :0]


def _inputs(state: State, q: Tensor) -> Tensor:
    """Return (k, d) inputs: ``D = U Q diag(a)`` with ``D 1`` the change of the bias, and the inputs its inverse."""
    known = state.memory
    inputs: Tensor = (torch.linalg.pinv(q * _amounts(state, q)) * known["values"]) @ known["rows"]
    return inputs


def _amounts(state: State, q: Tensor) -> Tensor:
    """Return (k,) the norm of each input's signals, with the sign that its direction lacks."""
    found: Tensor = torch.linalg.lstsq(q, state.memory["offset"][:, None]).solution[:, 0]
    return found


def _highest(victim: Victim, state: State, inputs: Tensor) -> Tensor:
    """Return (k, width) each unit's higher pre-activation of those before and after training."""
    memory = state.memory
    return highest(victim, first_layer(victim), inputs @ memory["rows"].T, memory["before"], memory["after"])
