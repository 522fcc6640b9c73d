"""Inputs that single units of the first layer hold: rows of its change from one input alone.

A row of the change is ``sum over inputs of signal x``, and its bias' that of the signals. Where one input alone reached
the unit, their ratio is that input, exactly and for any number of steps. It happens by itself (one image; a unit that
a ReLU keeps silent for all others), and it can be brought about: units of one direction with rising thresholds let one
input each pass (Fowl et al., ICLR 2022), and units tuned to rare inputs shut once they saw one (Feng and Tramer, 2024;
Boenisch et al., 2023).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..contract.attack import Unsupported
from ..contract.params import Params
from ..contract.victim import Victim
from .ladder import ladder
from .subspace import first_layer

MOVED = 1e-5
"""A signal counts from this share of the largest on."""

SAME = 1e-3
"""Relative distance of two readings of one input, at most."""

AGREE = 3
"""Units, at least, that read the same input, where nothing else says that they saw one alone."""


@dataclass(frozen=True)
class Change:
    """A layer before training, and its change, all float64.

    Attributes:
        weight: (m, d) before training.
        bias: (m,) before training.
        moved: (m, d) change of the weight, decay undone.
        bias_moved: (m,) that of the bias.
    """

    weight: Tensor
    bias: Tensor
    moved: Tensor
    bias_moved: Tensor

    def active(self, x: Tensor) -> Tensor:
        """Return (n, m) which units inputs (n, d) passed before training."""
        return x @ self.weight.T + self.bias > 0


def first_change(victim: Victim, change: Params) -> Change:
    """Return the first layer and its change. Raises :class:`.Unsupported` where records do not enter it themselves.

    Args:
        victim: The network.
        change: Of its parameters, decay undone.
    """
    layer = first_layer(victim)
    names = layer.name("weight"), layer.name("bias")
    if layer.features:
        raise Unsupported(f"{layer.path} is fed by features, not by the records themselves.")
    if not all(name in change for name in names):
        raise Unsupported(f"{layer.path} has no trained bias, which shows how strong each unit's signal is.")
    return Change(*(side[name].detach().double().cpu() for side in (victim.theta0, change) for name in names))


def stored(layer: Change) -> Tensor:
    """Return (n, d) the inputs that single units hold; none where nothing shows that a unit saw one alone."""
    found = _between(layer)
    if len(found):
        return found
    return _alone(layer)


def explained(layer: Change, x: Tensor) -> tuple[Tensor, float]:
    """Return (n,) how much of a layer's change each input explains, and the share of the change that all leave.

    Each unit's change is explained by those inputs alone that passed it before training.

    Args:
        layer: The layer.
        x: (n, d).
    """
    full = torch.cat([x, x.new_ones(len(x), 1)], 1)
    target = torch.cat([layer.moved, layer.bias_moved[:, None]], 1)
    passed, rest, powers = layer.active(x), target.clone(), x.new_zeros(len(x))
    for unit in target.abs().amax(1).nonzero().flatten().tolist():
        own = passed[:, unit].nonzero().flatten()
        if len(own):
            signals = torch.linalg.lstsq(full[own].T, target[unit][:, None], driver="gelsd").solution
            rest[unit] -= (signals * full[own]).sum(0)
            powers[own] += signals[:, 0].square() * full[own].square().sum(1)
    return powers.sqrt(), float(rest.square().sum() / target.square().sum().clamp_min(1e-300))


def _between(layer: Change) -> Tensor:
    """Return inputs (n, d) that passed one unit of a ladder and not the next: differences of their rows."""
    order = ladder(layer.weight, layer.bias)
    if not len(order):
        return layer.moved[:0]
    rows, signals = layer.moved[order], layer.bias_moved[order]
    steps = rows - torch.cat([rows[1:], torch.zeros_like(rows[:1])])
    signal = signals - torch.cat([signals[1:], torch.zeros_like(signals[:1])])
    held = signal.abs() > MOVED * signals.abs().max()
    x = steps[held] / signal[held][:, None]
    passed = layer.active(x)[:, order]
    place = held.nonzero().flatten()
    own = passed.gather(1, place[:, None])[:, 0]
    following = torch.cat([passed, passed.new_zeros(len(x), 1)], 1).gather(1, place[:, None] + 1)[:, 0]
    return x[own & ~following]


def _alone(layer: Change) -> Tensor:
    """Return inputs (n, d) that several units read alike, and no other one passed these."""
    used = (layer.bias_moved.abs() > MOVED * layer.bias_moved.abs().max()).nonzero().flatten()
    if not len(used):
        return layer.moved[:0]
    groups = _alike(layer.moved[used] / layer.bias_moved[used][:, None])
    groups = [used[group] for group in groups if len(group) >= AGREE]
    if not groups:
        return layer.moved[:0]
    x = torch.stack([_reading(layer, group) for group in groups])
    passed = layer.active(x)
    wrong = torch.stack([passed[:, group].double().mean(1) for group in groups], 1)  # of whose units each passed
    wrong.fill_diagonal_(0)
    kept = passed.new_ones(len(x))
    while bool((wrong > 0.5).any()):
        worst = int((wrong > 0.5).double().add((wrong > 0.5).double().T).sum(0).argmax())
        wrong[worst], wrong[:, worst], kept[worst] = 0, 0, False
    own = torch.stack([passed[row, group].all() for row, group in enumerate(groups)])
    return x[kept & own]


def _reading(layer: Change, group: Tensor) -> Tensor:
    """Return (d,) the input that a group of units reads, those with strong signals counting more."""
    signals = layer.bias_moved[group]
    return (signals[:, None] * layer.moved[group]).sum(0) / signals.square().sum()


def _alike(x: Tensor) -> list[Tensor]:
    """Return groups of readings (m, d) that are one input, to rounding."""
    sizes = torch.linalg.vector_norm(x, dim=1)
    left, groups = torch.ones(len(x), dtype=torch.bool), []
    for row in range(len(x)):
        if left[row]:
            reach = SAME * sizes[row]
            close = (
                (sizes - sizes[row]).abs() <= 2 * reach
            ) & left  # what lies near is about as long: few are compared
            group = close.nonzero().flatten()
            group = group[torch.linalg.vector_norm(x[group] - x[row], dim=1) <= reach]
            left[group] = False
            groups.append(group)
    return groups
