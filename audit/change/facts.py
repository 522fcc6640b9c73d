"""What the change of the parameters tells before anything is simulated: the recipe, as far as it can be read off.

Nothing here optimises, and nothing in a checkpoint makes it fail: a fact that cannot be read is absent. Design 13.2,
13.4, 13.5 and 13.9; the statistics are those of :mod:`.movement`,
:mod:`.optimizer` and :mod:`.rank`, gathered by :mod:`.readings`.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...attacks.contract.attack import generator
from ...attacks.contract.victim import Victim
from ...attacks.simulation.trainstep import gradient
from ..checkpoints.pair import COUNTER, CheckpointPair
from ..families.base import Architecture
from ..report.facts import Delta, Fact
from .movement import FLOOR, Signal
from .readings import STATISTICS, Readings

TRAVELLED = (0.9, 2.2)
"""Sum of the learning rates over the 99.9th percentile of Adam's changes, for nine of ten of 250 Adam victims."""

COUNTED = 1e9
"""A counter that rose by more is no counter."""

STEADY, REACHED = 1e-5, 0.91
"""This share of Adam's numbers, driven most steadily, goes at least so much of the sum of learning rates."""

PROBES, HEAVY, TOO_HEAVY = 16, 5_000_000, 50_000_000
"""Noise images that probe linearity; from so many parameters on a quarter of them; from so many on none."""


def read_delta(
    pair: CheckpointPair, architecture: Architecture | None = None, make: Callable[[], Victim] | None = None
) -> Delta:
    """Read off a pair what it tells without any optimisation.

    Args:
        pair: The checkpoints before and after training.
        architecture: The network, if it was recognised: without it neither ``size`` nor ``feasibility`` is known.
        make: Puts the pair into that network, on the CPU; called if at all, and at most once, for ``linearity`` and for
            first layers of custom networks.

    Returns:
        One reading for each floating tensor, and the facts that can be read: ``signal``, ``frozen``, ``optimizer``,
        ``travel`` (sum of Adam's learning rates), ``weight_decay_factor`` (product of ``1 - lr * weight_decay``),
        ``steps``, ``batch_norm``, ``size``, ``classes_present``, ``feasibility`` and ``linearity``.
    """
    found = Readings(pair, architecture, make)
    size = _size(found)
    facts = {
        "signal": _signal(found),
        "frozen": _frozen(found),
        "optimizer": _optimizer(found),
        "travel": _travel(found),
        "weight_decay_factor": _weight_decay(found),
        "steps": _steps(pair),
        "batch_norm": _batch_norm(found),
        "size": size,
        "classes_present": _classes(found),
        "feasibility": _feasibility(found, size),
        "linearity": _linearity(found),
    }
    rows = [signal.reading() for signal in found.signals]
    return Delta(tensors=rows, facts={name: fact for name, fact in facts.items() if fact})


def masked(delta: Delta) -> frozenset[str]:
    """Return the names of the tensors whose change is lost in rounding."""
    return frozenset(row.name for row in delta.tensors if row.status == "rounding")


def frozen(delta: Delta) -> frozenset[str]:
    """Return the names of the tensors that did not move at all."""
    return frozenset(row.name for row in delta.tensors if row.status == "frozen")


def _signal(found: Readings) -> Fact | None:
    weights = [s for s in found.parameters if s.is_weight and s.status in ("moved", "rounding")]
    if not weights:
        return None
    value = sorted(s.snr for s in weights)[len(weights) // 2]
    lost = [s.name for s in found.signals if s.status == "rounding"]
    coarse = max(weights, key=lambda s: torch.finfo(s.stored).eps)
    total = sum(s.before.numel() for s in weights)
    zeros = sum(s.zeros * s.before.numel() for s in weights) / total
    words = [
        f"median over {_count(len(weights), 'weight tensor')} of rms(change) / rms(rounding of the stored "
        f"{str(coarse.stored).removeprefix('torch.')}); {zeros:.1%} of their numbers did not change at all"
    ]
    if lost:
        words.append(f"below {FLOOR:g} and so left out: {_listed(lost)}")
    return Fact(value=value, source="inferred", confidence=1.0, evidence="; ".join(words))


def _frozen(found: Readings) -> Fact | None:
    names = [s.name for s in found.parameters if s.status == "frozen" and s.before.numel()]
    if not names:
        return None
    decayed = sum(s.status == "decayed" for s in found.parameters)
    more = f", {decayed} more were only scaled by weight decay" if decayed else ""
    words = f"{len(names)} of {len(found.parameters)} parameter tensors are equal bit for bit{more}"
    return Fact(value=names, source="inferred", confidence=1.0, evidence=words)


def _optimizer(found: Readings) -> Fact | None:
    if found.odds is None or found.sizes is None:
        return None
    adam = found.odds > 0
    sure = min(1 / (1 + math.exp(-abs(found.odds))), 0.99)
    measured, words = found.sizes, []
    if found.head and found.head.classes > 2:
        held = "as under SGD" if found.head.holds else "unlike under SGD with softmax cross-entropy"
        words.append(
            f"the changes of the {found.head.classes} rows of {found.head.name} cancel to {found.head.residual:.1e} of "
            f"their size (rounding: {found.head.floor:.1e}), {held}"
        )
    words.append(
        f"the typical change is {math.exp(measured.typical):.2g} of the largest and the rms of "
        f"{_count(measured.tensors, 'weight tensor')} differs by a factor of {math.exp(measured.spread):.2g} "
        "(Adam: near 1 and 1)"
    )
    if found.rank is not None and not adam:
        words.append(f"the first layer's change has rank {found.rank.count}, sharply")
    if sure < 0.8:
        words.append("this does not settle it")
    value = "adam" if adam else "sgd"
    return Fact(
        value=value, source="inferred", option="--optimizer", confidence=round(sure, 3), evidence="; ".join(words)
    )


def _travel(found: Readings) -> Fact | None:
    if found.odds is None or found.odds <= 0 or found.sizes is None or found.sizes.largest <= 0:
        return None
    largest = found.sizes.largest
    words = (
        f"the largest {STEADY:g} of the changes over {REACHED:g}: Adam moves no number much further than the sum of "
        "its learning rates, and a few steadily driven ones nearly as far"
    )
    value = max(_steadiest(found) / REACHED, largest)
    return Fact(
        value=value,
        source="inferred",
        confidence=round(0.9 / (1 + math.exp(-found.odds)), 3),
        interval=(TRAVELLED[0] * largest, max(TRAVELLED[1] * largest, value)),
        evidence=words,
    )


def _steadiest(found: Readings) -> float:
    changes = torch.cat([s.change.abs().flatten() for s in found.parameters if s.status == "moved"])
    return float(changes.topk(max(1, int(STEADY * len(changes)))).values[-1])


def _weight_decay(found: Readings) -> Fact | None:
    decay = found.decay
    if decay is None:
        return None
    # The decay of one step is itself rounded, which adds up; and the factor of a step is a float32 number.
    spread = max(decay.spread, 0.02 * (1 - decay.factor), 2.0**-18)
    none = "; no weight decay that float32 would show" if decay.factor == 1 else ""
    return Fact(
        value=decay.factor,
        source="inferred",
        option="--weight-decay",
        confidence=round(decay.confidence, 3),
        interval=(max(decay.factor - spread, 0.0), min(decay.factor + spread, 1.0)),
        evidence=decay.evidence + none,
    )


def _steps(pair: CheckpointPair) -> Fact | None:
    counts = [
        float(pair.after.tensors[name].double().sum() - value.double().sum())
        for name, value in pair.before.tensors.items()
        if name.endswith(COUNTER) and value.numel() == 1
    ]
    rising = Counter(int(count) for count in counts if 1 <= count <= COUNTED)
    if not rising:
        return None
    value, votes = rising.most_common(1)[0]
    agree = votes == len(counts)
    words = f"{votes} of {_count(len(counts), 'batch-norm counter')} rose by {value}: one for each training step"
    return Fact(
        value=value,
        source="inferred",
        confidence=1.0 if agree else round(0.9 * votes / len(counts), 3),
        interval=(value, value) if agree else (min(rising), max(rising)),
        evidence=words,
    )


def _batch_norm(found: Readings) -> Fact | None:
    running = [s for s in found.signals if s.name.endswith(STATISTICS)]
    counters = [name for name in found.pair.before.tensors if name.endswith(COUNTER)]
    if not running and not counters:
        return None
    before, after = found.pair.before.tensors, found.pair.after.tensors
    moved = sum(s.status != "frozen" for s in running)
    counted = sum(not torch.equal(before[name], after[name]) for name in counters)
    words = f"{moved} of {len(running)} running statistics and {counted} of {len(counters)} counters moved"
    value = "train" if moved or counted else "eval"
    return Fact(value=value, source="inferred", option="--batch-norm", confidence=0.99, evidence=words)


def _size(found: Readings) -> Fact | None:
    rank, first, architecture = found.rank, found.first, found.architecture
    if rank is None or first is None or architecture is None or not found.is_sgd:
        return None
    is_head = len(first.before) == architecture.classes
    if rank.count >= rank.room - is_head:
        return None
    sure = 0.95 if rank.room >= 2 * rank.count and rank.closed and rank.flat else 0.85
    words = [
        f"the change of {first.name} has rank {rank.count}: singular value {rank.count} is {rank.gap:.1e} times the "
        "next one, which is rounding; one for each different image, augmented copies counted, that had a gradient"
    ]
    if not rank.closed:
        words.append("the bias change does not fit in, so that images may depend on each other and there may be more")
    if not rank.flat:
        words.append("what follows is not quite flat: an image with almost no gradient may hide there")
    if rank.count == architecture.categories - 1:
        sure = min(sure, 0.8)
        words.append("with no nonlinearity between the layers more images would show the same rank, classes - 1")
    return Fact(
        value=rank.count,
        source="inferred",
        option="--size",
        confidence=sure,
        interval=(rank.count, rank.count),
        evidence="; ".join(words),
    )


def _classes(found: Readings) -> Fact | None:
    if found.architecture is None:
        return None
    classes = found.architecture.classes
    head = next(
        (s for s in reversed(found.parameters) if s.status == "moved" and s.before.shape == (classes,)),
        next((s for s in reversed(found.parameters) if s.status == "moved" and _is_head(s, classes)), None),
    )
    if head is None:
        return None
    change, start = head.change, head.before.double()
    decay = found.decay.factor - 1 if found.decay else 0.0
    floor = 4 * head.noise
    if head.before.ndim == 2:
        change, start = change.sum(1), start.sum(1)
        floor *= head.before.shape[1] ** 0.5
    if classes == 1:  # the logit of class 1, which the samples of class 0 push down
        change, start = torch.cat([-change, change]), torch.cat([-start, start])
    rose = (change > floor) & (change - decay * start > floor)
    present = [int(index) for index in rose.nonzero().flatten()]
    if not present:
        return None
    what = "bias" if head.before.ndim == 1 else "summed weights"
    if classes == 1:
        words = (
            f"the {what} of the one logit {'rose' if present == [1] else 'fell'} in {head.name}, as under the logistic "
            f"loss only samples of class {present[0]} make it; the other class may be present too"
        )
    else:
        rest = float(change.sum().abs() / change.abs().sum())
        words = (
            f"the {what} of {len(present)} of {classes} classes rose in {head.name}, and under softmax cross-entropy a "
            f"class without a sample only falls; others may be present too; the changes sum to {rest:.1e} of their size"
        )
    return Fact(value=present, source="inferred", confidence=0.95, evidence=words)


def _is_head(signal: Signal, classes: int) -> bool:
    return signal.before.ndim == 2 and len(signal.before) == classes


def _feasibility(found: Readings, size: Fact | None) -> Fact | None:
    if found.architecture is None:
        return None
    moved = sum(s.before.numel() for s in found.parameters if s.status == "moved")
    pixels = math.prod(found.architecture.shape)
    count = size.value if size and isinstance(size.value, int) else 1
    value = moved / (pixels * count)
    words = f"{moved:,} parameters moved out of rounding; an image has {pixels:,} unknown numbers"
    if size is None:
        words += f": they determine at most {int(value):,} images"
    else:
        words += f", {count} images have {pixels * count:,}; below 1 the images are underdetermined"
    return Fact(value=value, source="inferred", confidence=size.confidence if size else 1.0, evidence=words)


def _linearity(found: Readings) -> Fact | None:
    subject = found.victim
    if subject is None or found.architecture is None:
        return None
    total = sum(value.numel() for value in subject.theta0.values())
    if total > TOO_HEAVY:
        return None
    count = PROBES if total <= HEAVY else PROBES // 4
    values = _cosines(subject, count)
    if not values or not all(map(math.isfinite, values)):
        return None
    value = sum(values) / count
    spread = 2 * (sum((v - value) ** 2 for v in values) / max(count - 1, 1) / count) ** 0.5
    words = (
        f"mean cosine of the loss gradients before and after training, over {count} noise images with random labels; "
        "near 1 the training is nearly linear, so that single-gradient attacks apply"
    )
    return Fact(
        value=value,
        source="inferred",
        confidence=0.7,
        interval=(max(value - spread, -1.0), min(value + spread, 1.0)),
        evidence=words,
    )


def _cosines(subject: Victim, count: int) -> list[float]:
    draw = generator(0)
    x = torch.randn(count, *subject.shape, generator=draw).to(subject.like)
    labels = torch.randint(subject.categories, (count,), generator=draw)
    sides = tuple(subject.theta0.values()), tuple(subject.thetaf[name] for name in subject.theta0)
    found = []
    for row in range(count):
        try:
            with torch.no_grad():
                start, end = (gradient(subject, side, x[row : row + 1], labels[row : row + 1]) for side in sides)
        except RuntimeError:  # a forward that cannot be differentiated
            return []
        found.append(_cosine(start, end))
    return found


def _cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Return the cosine of two lists of tensors seen as vectors, summed in float64; 0 where one of them vanishes."""
    dots = [sum(_dot(u, v) for u, v in zip(*pair, strict=True)) for pair in ((a, b), (a, a), (b, b))]
    length = math.sqrt(dots[1] * dots[2])
    return max(min(dots[0] / length, 1.0), -1.0) if length else 0.0


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.flatten().double(), b.flatten().double()))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
