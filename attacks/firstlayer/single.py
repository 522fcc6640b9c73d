"""Two tests of a single record, whatever the others were: its signals, and what deeper layers see of it.

Under SGD the change of the first layer is ``D X``, the summed signals of the records times the records, so that the
signals of each record lie in the span of its columns, and what the next linear layers are fed lies in the span of the
rows of theirs (Dimitrov et al., 2024, theorem 3.1; docs/decisions/0019-pursuit.md). Each leaves a stranger, a mixture
of two records or a wrong label far outside, as long as there are fewer records than units.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..contract.params import Params
from ..contract.victim import Victim
from ..layers.coverage import directions
from ..layers.inputs import middle, trained
from ..layers.rounding import noise, stored
from ..simulation.activations import activations, eased
from ..simulation.losses import Objective, training_loss
from .reduced import projected, reduced
from .subspace import Layer, Subspace

LEAST = 3e-5
"""Added to every share before its logarithm is taken: what layers are fed moves by about this."""

SPARE = 1.04
"""Directions of a deeper layer that are kept for each record: what it is fed moves during training."""

NODES = ((0.0, 1.0), (0.5, 4.0), (1.0, 1.0))
"""Shares of training's way, and weights, at which signals are summed."""

ROOM = 0.9
"""A deeper layer tells records apart if those are at most this share of what its change can span."""


@dataclass(frozen=True)
class Look:
    """What the tests say of records, differentiable in these.

    Attributes:
        signals: (b, r) the part of each record's signals within the span of all, for signals of unit length.
        beyond: (b,) the share of the squares of its signals outside, in [0, 1].
        deeper: (b,) the mean logarithm of the shares of what deeper layers are fed outside of what they span; zero
            where there is no such layer.
    """

    signals: Tensor
    beyond: Tensor
    deeper: Tensor


@dataclass(frozen=True)
class Single:
    """What single records are held against.

    Attributes:
        network: The victim behind its first layer, which takes coordinates.
        layer: The first layer.
        basis: (width, r) orthonormal: what the signals of all records span.
        beside: (k, width) orthonormal, by the path of each deeper layer: what lies outside of what all records feed it.
        goal: What training minimised.
    """

    network: Victim
    layer: Layer
    basis: Tensor
    beside: Params
    goal: Objective

    @property
    def equations(self) -> int:
        """How many equations the tests put on one record."""
        width, rank = self.basis.shape
        return width - rank + sum(len(rows) for rows in self.beside.values())

    def look(self, coordinates: Tensor, labels: Tensor, ease: float) -> Look:
        """Look at records (b, r) as having ``labels`` (b,), in the middle of training, with :func:`eased` ReLUs."""
        fed: dict[str, Tensor] = {}
        hooks = [
            self.network.module.get_submodule(path).register_forward_pre_hook(partial(_noted, fed, path))
            for path in self.beside
        ]
        try:
            with activations(eased(ease)):
                signals = self._signals(0.5, coordinates, labels)
        finally:
            for hook in hooks:
                hook.remove()
        inside = normalize(signals, dim=1) @ self.basis
        shares = [
            (fed[path] @ rows.T).square().sum(1) / fed[path].square().sum(1) for path, rows in self.beside.items()
        ]
        logs = [(share + LEAST).log() for share in shares]
        return Look(inside, 1 - inside.square().sum(1), torch.stack(logs).mean(0) if logs else inside.new_zeros(()))

    def proof(self, coordinates: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what lies beyond (b,) and the signals (b, r) inside, of unit length, of the network itself.

        The signals of a whole training, by Simpson's rule over it.
        """
        x = coordinates.detach()
        signals = sum(weight * self._signals(share, x, labels).detach() for share, weight in NODES)
        inside = normalize(torch.as_tensor(signals), dim=1) @ self.basis
        return 1 - inside.square().sum(1), normalize(inside, dim=1)

    def _signals(self, share: float, x: Tensor, labels: Tensor) -> Tensor:
        """Return (b, width) how the first layer's outputs are to change for records, a share of training's way on."""
        outputs: list[Tensor] = []
        x = x if x.requires_grad else x.detach().requires_grad_()
        layer = self.network.module.get_submodule(self.layer.path)
        hook = layer.register_forward_hook(lambda *parts: outputs.append(parts[2]))
        try:
            logits = self.network.logits(middle(self.network, share), x)
        finally:
            hook.remove()
        loss = training_loss(logits, labels.to(x.device), self.goal) * len(x)
        (found,) = torch.autograd.grad(-loss, outputs[:1], create_graph=True)
        return found


def single(victim: Victim, change: Params, found: Subspace, goal: Objective) -> Single:
    """Return the tests of single records.

    Args:
        victim: The whole network.
        change: Of its parameters, decay undone.
        found: What its first layer shows.
        goal: What training minimised.
    """
    rank, layer = len(found.rows), found.layer
    network = reduced(victim, layer, *projected(victim, layer, found.rows))
    blank = found.rows[:1].to(victim.like) @ found.rows.T.to(victim.like)
    beside = {}
    for deeper in trained(network, blank):
        wanted = math.ceil(SPARE * rank)
        if deeper.kernel or deeper.positions > 1 or deeper.path == layer.path or wanted > ROOM * deeper.width:
            continue
        sides = [deeper.matrix(params) for params in (victim.theta0, victim.thetaf)]
        try:
            span = directions(deeper.matrix(change), noise(sides, [stored(s) for s in sides]), 1.0, wanted).kept
        except ValueError:
            continue
        if len(span) >= rank:
            beside[deeper.path] = torch.linalg.qr(span.double().T, mode="complete").Q.T[len(span) :].to(victim.like)
    basis = (found.change @ found.rows.T) / found.values
    return Single(network, layer, basis.to(victim.like), beside, goal)


def _noted(fed: dict[str, Tensor], path: str, _: nn.Module, given: tuple[Tensor, ...]) -> None:
    fed.setdefault(path, given[0])
