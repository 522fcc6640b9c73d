"""What the change of the parameters shows before anything is simulated: the recipe, as far as it can be read off.

Nothing here optimises, and nothing in a checkpoint makes it fail: a fact that cannot be read is absent. Measurements
are gathered by :mod:`.readings`; the facts of the training are in :mod:`.training`, those of its records in
:mod:`.samples` and, of texts, in :mod:`.words`, and whether it was nearly linear is in :mod:`.linearity`.
"""

import math
from collections.abc import Callable, Sequence

import torch

from ...attacks.contract.victim import Victim
from ..checkpoints.pair import CheckpointPair
from ..families.base import Architecture
from ..report.facts import FLOOR, Delta, Fact
from .ladders import read_ladders
from .linearity import read_linearity
from .loss import read_loss
from .readings import Readings
from .samples import read_classes, read_size
from .training import read_backwards, read_batch_norm, read_decay, read_optimizer, read_steps, read_travel
from .words import read_words


def read_delta(
    pair: CheckpointPair, architecture: Architecture | None = None, make: Callable[[], Victim] | None = None
) -> Delta:
    """Read off a pair what it shows without any optimisation.

    Args:
        pair: The checkpoints before and after training.
        architecture: The network, if it was recognised: without it neither ``size`` nor ``feasibility`` is known.
        make: Puts the pair into that network, on the CPU; called if at all, and at most once, for ``linearity`` and for
            first layers of custom networks.

    Returns:
        One reading for each floating tensor, and the facts that can be read: ``signal``, ``frozen``, ``optimizer``,
        ``travel`` (sum of Adam's learning rates), ``weight_decay_factor`` (product of ``1 - lr * weight_decay``),
        ``steps``, ``backwards`` (counters that fall), ``unknown_start`` (tensors that only the file from after
        holds), ``batch_norm``, ``loss``, ``size``, ``classes_present``, ``tokens_seen``, ``length``,
        ``sequences_at_least``, ``ladders`` (weights that look made to store inputs), ``feasibility`` and
        ``linearity``.
    """
    found = Readings(pair, architecture, make)
    count = read_size(found)
    facts = {
        "signal": _signal(found),
        "frozen": _frozen(found),
        "optimizer": read_optimizer(found),
        "travel": read_travel(found),
        "weight_decay_factor": read_decay(found),
        "steps": read_steps(found),
        "backwards": read_backwards(found),
        "unknown_start": _unknown_start(pair),
        "batch_norm": read_batch_norm(found),
        "loss": read_loss(found),
        "size": count,
        "classes_present": read_classes(found),
        **read_words(found),
        "ladders": read_ladders(pair.before.tensors),
        "feasibility": _feasibility(found, count),
        "linearity": read_linearity(found),
    }
    rows = [signal.reading() for signal in found.signals]
    return Delta(tensors=rows, facts={name: fact for name, fact in facts.items() if fact and _finite(fact)})


def _finite(fact: Fact) -> bool:
    return not isinstance(fact.value, float) or math.isfinite(fact.value)


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
    stored = str(coarse.stored).removeprefix("torch.")
    words = [
        f"median over {len(weights)} weight tensor{'s' * (len(weights) > 1)} of rms(change) / rms(rounding of the "
        f"stored {stored}); {zeros:.1%} of their numbers did not change at all"
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


def _unknown_start(pair: CheckpointPair) -> Fact | None:
    if not pair.fresh:
        return None
    names = sorted(pair.fresh)
    words = f"of {_listed(names)} the files show the end alone: a new head, or an adapter's lora_A"
    return Fact(value=names, source="inferred", confidence=1.0, evidence=words)


def _feasibility(found: Readings, size: Fact | None) -> Fact | None:
    if found.architecture is None:
        return None
    moved = sum(s.before.numel() for s in found.parameters if s.status == "moved")
    numbers = math.prod(found.architecture.shape)
    count = size.value if size and isinstance(size.value, int) else 1
    value = moved / (numbers * count)
    words = f"{moved:,} parameters moved out of rounding; one input has {numbers:,} unknown numbers"
    if size is None:
        words += f": they determine at most {int(value):,} inputs"
    else:
        words += f", {count} inputs have {numbers * count:,}; below 1 the inputs are underdetermined"
    return Fact(value=value, source="inferred", confidence=size.confidence if size else 1.0, evidence=words)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
