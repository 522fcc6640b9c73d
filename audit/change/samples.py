"""What the network was trained on, as far as the change shows: how many images, and of which classes."""

import torch

from ..checkpoints.adapter import UP
from ..report.facts import Fact
from .loss import read_loss
from .movement import Signal
from .readings import Readings


def read_size(found: Readings) -> Fact | None:
    """Return the number of training images, ``None`` where the change of the first layer does not show it."""
    spectrum, first, architecture = found.spectrum, found.first, found.architecture
    if spectrum is None or first is None or architecture is None or not found.is_sgd:
        return None
    edge, rank = spectrum.edge, spectrum.edge.rank
    if rank >= spectrum.room:
        return None
    sure = 0.95 if spectrum.live >= 2 * rank and spectrum.closed and edge.flat else 0.85
    words = [
        f"the change of {first.name} has rank {rank}: singular value {rank} is {edge.gap:.1e} times the next one, "
        "which is rounding; one for each different image, augmented copies counted, that had a gradient"
    ]
    if not spectrum.closed:
        words.append("the bias change does not fit in, so that images may depend on each other and there may be more")
    if not edge.flat:
        words.append("what follows is not quite flat: an image with almost no gradient may hide there")
    if found.merged:
        sure = 0.5
        words.append(
            "every matrix that can show it has this rank, as an adapter (LoRA) that was merged into the weights leaves "
            "it: then this is the adapter's rank, and the number of images is unknown"
        )
    if rank == architecture.categories - 1:
        sure = min(sure, 0.8)
        words.append("with no nonlinearity between the layers more images would show the same rank, classes - 1")
    return Fact(
        value=rank,
        source="inferred",
        option="--size",
        confidence=sure,
        interval=None if found.merged else (rank, rank),
        evidence="; ".join(words),
    )


def read_classes(found: Readings) -> Fact | None:
    """Return classes that are surely among the labels, ``None`` where the head does not show any."""
    if found.architecture is None:
        return None
    classes = found.architecture.classes
    loss = read_loss(found)
    if loss is not None and loss.value == "mse":  # it raises or lowers a logit towards 0 for every other class
        return None
    factors = {f"{layer}.{UP}" for layer in found.pair.lora}  # what they are given may be negative
    moved = [s for s in reversed(found.parameters) if s.status == "moved" and s.name not in factors]
    head = next(
        (s for s in moved if s.before.shape == (classes,)),
        next((s for s in moved if _is_head(s, classes)), None),
    )
    if head is None or (head.before.ndim == 2 and found.merged):  # what an adapter's B is given may be negative
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
