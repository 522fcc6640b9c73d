"""How the network was trained, as far as the change shows: optimiser, learning rates, decay, steps, batch norm."""

import math
from collections import Counter

import torch

from ..checkpoints.pair import COUNTER
from ..report.facts import Fact
from .readings import STATISTICS, Readings

TRAVELLED = (0.9, 2.2)
"""Sum of the learning rates over the 99.9th percentile of Adam's changes, for nine of ten of 250 Adam victims."""

COUNTED = 1e9
"""A counter that rose by more is not a counter."""

STEADY, REACHED = 1e-5, 0.91
"""This share of Adam's numbers, driven most steadily, goes at least so much of the sum of learning rates."""


def read_optimizer(found: Readings) -> Fact | None:
    """Return ``sgd`` or ``adam``, ``None`` where all weights are lost in rounding."""
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
        f"the typical change is {math.exp(measured.typical):.2g} of the largest and the rms of {measured.tensors} "
        f"weight tensor{'s' * (measured.tensors > 1)} differs by a factor of {math.exp(measured.spread):.2g} "
        "(Adam: near 1 and 1)"
    )
    if found.spectrum is not None and not adam:
        words.append(f"the first layer's change has rank {found.spectrum.edge.rank}, sharply")
    if found.merged:
        words.append(
            "an adapter (LoRA) that was merged into the weights leaves such a change, whose sizes tell nothing"
        )
    if sure < 0.8:
        words.append("this does not settle it")
    value = "adam" if adam else "sgd"
    return Fact(
        value=value, source="inferred", option="--optimizer", confidence=round(sure, 3), evidence="; ".join(words)
    )


def read_travel(found: Readings) -> Fact | None:
    """Return the sum of Adam's learning rates, ``None`` under SGD, whose changes do not show it."""
    if found.odds is None or found.odds <= 0 or found.merged or found.sizes is None or found.sizes.largest <= 0:
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


def read_decay(found: Readings) -> Fact | None:
    """Return the factor in (0, 1] by which weight decay shrank the weights, ``None`` where nothing shows it."""
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


def read_steps(found: Readings) -> Fact | None:
    """Return the number of training steps that the counters of batch norm show, ``None`` where they stood still."""
    counts = [
        float(found.pair.after.tensors[name].double().sum() - value.double().sum())
        for name, value in found.pair.before.tensors.items()
        if name.endswith(COUNTER) and value.numel() == 1
    ]
    rising = Counter(int(count) for count in counts if 1 <= count <= COUNTED)
    if not rising:
        return None
    value, votes = rising.most_common(1)[0]
    agree = votes == len(counts)
    counters = f"batch-norm counter{'s' * (len(counts) > 1)}"
    words = f"{votes} of {len(counts)} {counters} rose by {value}: one for each training step"
    return Fact(
        value=value,
        source="inferred",
        confidence=1.0 if agree else round(0.9 * votes / len(counts), 3),
        interval=(value, value) if agree else (min(rising), max(rising)),
        evidence=words,
    )


def read_backwards(found: Readings) -> Fact | None:
    """Return how many counters of batch norm fall from the first file to the second, ``None`` for none."""
    before, after = found.pair.before.tensors, found.pair.after.tensors
    names = [name for name, value in before.items() if name.endswith(COUNTER) and value.numel() == 1]
    falling = [name for name in names if float(after[name]) < float(before[name])]
    if not falling:
        return None
    name = falling[0]
    words = (
        f"{len(falling)} of {len(names)} batch-norm counters run backwards, such as {name} from {int(before[name])} to "
        f"{int(after[name])}: the two files may be in the wrong order, or of different trainings"
    )
    return Fact(value=len(falling), source="inferred", confidence=0.9, evidence=words)


def read_batch_norm(found: Readings) -> Fact | None:
    """Return whether batch norm was in ``train`` or ``eval`` mode, ``None`` for a network without it."""
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
