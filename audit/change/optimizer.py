"""Which optimiser made a change, and how much of it is weight decay.

Two kinds of evidence, added as log-odds. The classifier head: under softmax cross-entropy the gradients of a head's
rows sum to zero over the classes, so that after SGD, however many steps and batches and with any momentum,
``sum_c W_f[c] = alpha sum_c W_0[c]`` holds to rounding, with alpha the weight-decay factor; Adam divides every
coordinate by its own scale and breaks this. The sizes: Adam's steps are as long for a small gradient as for a large
one (Kingma and Ba, 2015, section 2.1), so that the typical change is not far below the largest and all tensors move
alike.

The constants are a fit to 780 victims trained by torch.optim (perceptrons, convolutions, residual networks; 1 to 200
steps, 1 to 100 images); :mod:`tests.audit.change.test_facts` trains others.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .movement import LEAST, Signal, active, scaled_rows

TYPICAL, SPREAD, OFFSET, ALONE = 4.7, -5.6, 9.0, -3.9
"""Log-odds of Adam: weights of ln(median / largest change) and of the spread of ln(rms) over tensors, a constant, and
what is added to it where there is one tensor only and so no spread.

On 780 victims this alone is right for 97 %, and as often as it says.
"""

ALIKE = -0.15
"""A head whose ln(median / largest change) is above this moved by steps of one length, which may cancel by chance."""

SAMPLE = 500_000
"""This many changes of a tensor, evenly spaced, stand for all of them in order statistics."""


@dataclass(frozen=True)
class Decay:
    """A measurement of the weight-decay factor alpha.

    Attributes:
        factor: Product of ``1 - lr * weight_decay`` over the steps, in (0, 1].
        spread: Half-width of its interval.
        confidence: Probability in [0, 1] that it is what was measured.
        evidence: In words.
    """

    factor: float
    spread: float
    confidence: float
    evidence: str


TOGETHER = 0.6
"""A residual above this is of rows that moved alike, as under binary cross-entropies early in training."""

BROKEN = 1.5
"""Log-odds of Adam that a broken sum gives at most, where the biases do not tell why it is broken."""

APART, SURELY = 0.42, 4.0
"""Biases whose changes cancel as far as this are not those of a loss for each logit, which moves them together: then a
broken sum is Adam's, with these log-odds, where tensors moved alike too. Of trainings of 200 to 900 steps on thousands
of images: 0.01 to 0.33 under Adam with a softmax, 0.51 to 1 under SGD with a loss for each logit (once 0.23)."""

UNSETTLED, UNLIKE = -1.3, 0.6
"""Log-odds of Adam that sizes give at least, where the sum is broken and tensors moved as alike as this (spread of the
logarithm): after hundreds of steps on thousands of images Adam's changes differ in size as SGD's do, within a tensor.
"""


@dataclass(frozen=True)
class HeadSum:
    """How well the rows of a head cancel.

    Attributes:
        name: The head's weight.
        classes: Its rows.
        residual: Norm of ``sum_c (W_f - alpha W_0)[c]`` over sqrt(classes) times the norm of the change, in [0, 1].
        floor: What rounding alone leaves of that.
        factor: The alpha that leaves least.
        spread: Half-width of its interval, infinite where the rows of W_0 cancel too and show nothing.
        alike: Whether all its numbers moved by about as much.
        sure: Whether this is the head; otherwise it is that matrix of an unknown network whose rows cancel best.
        together: How far the changes of its biases go one way: their sum over that of their sizes, in [0, 1]; ``None``
            where it has none that moved.
    """

    name: str
    classes: int
    residual: float
    floor: float
    factor: float
    spread: float
    alike: bool
    sure: bool = True
    together: float | None = None

    @property
    def broken(self) -> bool:
        """Whether the rows of the head do not cancel, by far more than rounding."""
        return self.sure and self.classes > 2 and self.residual > max(10 * self.floor, 1e-2)

    @property
    def holds(self) -> bool:
        """Whether the rows cancel to rounding."""
        return self.residual <= min(100 * self.floor, 1e-2)

    @property
    def apart(self) -> bool:
        """Whether the rows do not cancel, and the biases do not move together: this is no loss for each logit."""
        return self.broken and self.together is not None and self.together <= APART

    @property
    def odds(self) -> float:
        """Log-odds of Adam: two log-normal laws of the residual, around rounding for SGD and around a third for Adam.

        Two classes show nothing, as their gradients are opposite and Adam keeps opposites; nor do changes of one
        length, of which as many may rise as fall. A broken sum speaks for Adam or for another loss, such as one binary
        cross-entropy for each class; all rows moving alike, for that alone: the sizes of the changes must decide.
        """
        if self.classes < 3 or (self.holds and self.alike):
            return 0.0
        if self.broken and self.together is not None and self.together > APART:
            return 0.0
        found = math.log(max(self.residual, 1e-12))
        sgd = ((found - math.log(max(self.floor, 1e-7))) / 1.5) ** 2 / 2 + math.log(1.5)
        adam = ((found - math.log(0.34)) / 0.7) ** 2 / 2 + math.log(0.7)
        most = 0.0 if self.residual > TOGETHER else BROKEN
        return max(min(sgd - adam, most), -8.0)


def head_sum(signals: Sequence[Signal], classes: int | None) -> HeadSum | None:
    """Return the cancellation of the head: the last moved matrix with a row per class, any if ``classes`` is None."""
    matrices = [s for s in signals if s.is_weight and s.before.ndim == 2 and s.length > 0 and s.status != "decayed"]
    if classes is not None:
        head = next((s for s in reversed(matrices) if len(s.before) == classes and classes > 1), None)
        return replace(_head_sum(head), together=_together(signals, head)) if head else None
    sums = [_head_sum(s) for s in matrices if len(s.before) > 2]
    best = min(sums, key=lambda s: s.residual / max(s.floor, 1e-12), default=None)
    return replace(best, sure=False) if best else None


def _together(signals: Sequence[Signal], head: Signal) -> float | None:
    """Return how far the changes of a head's biases go one way, ``None`` without any that moved."""
    name = f"{head.name.removesuffix('weight')}bias"
    found = (s for s in signals if s.name == name and s.status == "moved")
    bias = next((s for s in found if len(s.before) == len(head.before)), None)
    return float(bias.change.sum().abs() / bias.change.abs().sum()) if bias else None


def _head_sum(head: Signal) -> HeadSum:
    start, end = head.before.double().sum(0), head.after.double().sum(0)
    power = float(start.square().sum())
    factor = float((start * end).sum()) / power if power else 1.0
    if not 0.1 < factor < 1.1:
        factor = 1.0
    rest = float((end - factor * start).norm())
    classes, features = head.before.shape
    noise = head.noise * (classes * features) ** 0.5
    spread = 4 * max(rest, noise) / (power * features) ** 0.5 + 2.0**-26 if power else math.inf
    return HeadSum(
        head.name,
        classes,
        residual=rest / math.sqrt(classes) / head.length,
        floor=noise / head.length,
        factor=factor,
        spread=spread,
        alike=_typical(_thinned(active(head).abs(), SAMPLE)) > ALIKE,
    )


def head_decay(found: HeadSum | None) -> Decay | None:
    """Return alpha from the head's row sums, ``None`` where they do not cancel or cancelled from the start."""
    if found is None or not found.holds or found.alike or found.spread > 1e-2:
        return None
    return Decay(
        found.factor,
        found.spread,
        0.97,
        f"the sum of the {found.classes} rows of {found.name} shrank by one factor to within {found.residual:.1e} of "
        "the change, as it does under softmax cross-entropy",
    )


def still_decay(signals: Sequence[Signal]) -> Decay | None:
    """Return alpha from weights that no gradient reached: two or more rows, columns or whole tensors that agree.

    Rows of a tensor that did not move at all prove nothing: it may have been left out of the optimiser.
    """
    factors, powers, noises = _still(signals)
    if len(factors) < 2:
        return None
    values, weights = torch.tensor(factors).double(), torch.tensor(powers).double()
    loss = 1 - values
    middle = loss.median()
    near = (loss - middle).abs() <= 0.05 * middle + 8 * torch.tensor(noises).double()
    share = float(near.double().mean())
    if int(near.sum()) < 2 or share < 0.5:
        return None
    alpha = float((values * weights)[near].sum() / weights[near].sum())
    spread = max(3 * float(values[near].std()) / int(near.sum()) ** 0.5, float(torch.tensor(noises).median()))
    how = "did not change at all" if alpha == 1 else f"were all scaled by {alpha:.9g}"
    words = f"{int(near.sum())} rows or columns of weights without any gradient {how}"
    return Decay(alpha, spread, share * (0.97 if int(near.sum()) >= 10 else 0.85), words)


def _still(signals: Sequence[Signal]) -> tuple[list[float], list[float], list[float]]:
    """Return factor, power and relative rounding of every row or column that was only scaled."""
    factors: list[float] = []
    powers: list[float] = []
    noises: list[float] = []
    for signal in signals:
        if not signal.is_weight or signal.status == "frozen":
            continue
        for before, change in signal.matrices():
            values, still = scaled_rows(before, change, signal.noise)
            size = before.square().sum(1)
            factors += values[still].tolist()
            powers += size[still].tolist()
            noises += (signal.noise * before.shape[1] ** 0.5 / size[still].sqrt()).tolist()
    return factors, powers, noises


def agreed(found: Sequence[Decay]) -> Decay | None:
    """Return the narrowest of several measurements, trusted less where another contradicts it."""
    usable = [decay for decay in found if decay.factor - decay.spread <= 1]
    if not usable:
        return None
    best = min(usable, key=lambda decay: decay.spread)
    others = [d for d in usable if d is not best]
    apart = [d for d in others if abs(d.factor - best.factor) > 3 * (d.spread + best.spread) + 0.02 * (1 - best.factor)]
    factor = 1.0 if abs(best.factor - 1) <= best.spread else min(best.factor, 1.0)
    confidence = 0.6 if apart else min(0.99, best.confidence + 0.01 * len(others))
    words = "; ".join([best.evidence, *(f"but {d.evidence}" if d in apart else d.evidence for d in others)])
    return Decay(factor, best.spread, confidence, words)


@dataclass(frozen=True)
class Sizes:
    """How alike the changes are.

    Attributes:
        typical: Median over weight tensors of ln(median / 99.9th percentile) of the changes; 0 if all are equal.
        spread: Standard deviation over weight tensors of ln(rms); 0 if all tensors moved alike.
        tensors: Weight tensors that were looked at.
        numbers: Changes that were looked at.
        largest: 99.9th percentile of all changes.
    """

    typical: float
    spread: float
    tensors: int
    numbers: int
    largest: float

    @property
    def odds(self) -> float:
        """Log-odds of Adam; fewer than 200 numbers say less."""
        alone = ALONE if self.tensors == 1 else 0.0
        raw = OFFSET + alone + TYPICAL * max(self.typical, -5.0) + SPREAD * min(self.spread, 1.5)
        return min(1.0, self.numbers / 200) * max(min(raw, 4.0), -4.0)


def sizes(signals: Sequence[Signal]) -> Sizes | None:
    """Measure the changes of the weights that stand out of rounding and had a gradient; ``None`` if there are none."""
    changes = list(_changes(signals))
    if not changes:
        return None
    typical = sorted(map(_typical, changes))
    logs = torch.tensor([float(c.square().mean().sqrt().log()) for c in changes])
    pooled = torch.cat([_thinned(c, SAMPLE // len(changes)) for c in changes])
    return Sizes(
        typical[len(typical) // 2] / 2 + typical[(len(typical) - 1) // 2] / 2,
        float(logs.std(correction=0)),
        len(changes),
        sum(len(c) for c in changes),
        _quantile(pooled, 0.999),
    )


def _changes(signals: Sequence[Signal]) -> Iterator[Tensor]:
    for signal in signals:
        if signal.is_weight and signal.status == "moved":
            found = _thinned(active(signal).abs(), SAMPLE)
            if len(found) > LEAST:
                yield found


def _thinned(values: Tensor, size: int) -> Tensor:
    return values[:: -(-len(values) // size)] if len(values) > size else values


def _typical(values: Tensor) -> float:
    """Return ln(median / 99.9th percentile) of positive values, at least -20."""
    return math.log(max(_quantile(values, 0.5) / _quantile(values, 0.999), 2e-9)) if len(values) else -20.0


def _quantile(values: Tensor, share: float) -> float:
    return float(values.kthvalue(1 + round(share * (len(values) - 1))).values)
