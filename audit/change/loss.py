"""Which loss training minimised, as far as the change of the classifier head shows it."""

from ..report.facts import Fact
from .optimizer import TOGETHER, HeadSum
from .readings import Readings


def read_loss(found: Readings) -> Fact | None:
    """Return ``cross-entropy``, ``bce`` or ``mse``; ``None`` where the head shows nothing, or moved under Adam.

    The gradient of a softmax's loss by all logits sums to zero, so that under SGD the rows of the head's change cancel,
    with label smoothing and class weights as well. Where they do not, each logit had a loss of its own. Logits of a new
    head are near 0, where the logistic loss pushes nearly all of them down and the squared error, towards labels of 0
    and 1, nearly all of them up.
    """
    head = found.head
    if head is None or not head.sure or head.classes < 3:
        return None
    if head.holds and not head.alike:
        return _fact("cross-entropy", 0.97, f"{_measured(head)}, as under SGD with a softmax")
    rise = _rise(found, head)
    low = found.is_sgd and found.spectrum is not None and 2 * found.spectrum.edge.rank <= found.spectrum.live
    if rise is None or head.apart or head.alike or not (low or head.residual > TOGETHER):
        return None  # noise on the weights breaks the sum as well, and leaves no rank
    value, way = ("mse", "rose") if rise > 0 else ("bce", "fell")
    return _fact(value, 0.6, f"{_measured(head)}, unlike under a softmax, and together the logits' biases {way}")


def _rise(found: Readings, head: HeadSum) -> float | None:
    """Return the sum of the changes of the biases of the head, ``None`` where it has none that moved."""
    name = head.name.removesuffix("weight") + "bias"
    bias = next((signal for signal in found.parameters if signal.name == name and signal.status == "moved"), None)
    return float(bias.change.sum()) if bias and bias.before.shape == (head.classes,) else None


def _measured(head: HeadSum) -> str:
    return (
        f"the changes of the {head.classes} rows of {head.name} cancel to {head.residual:.1e} of their size "
        f"(rounding: {head.floor:.1e})"
    )


def _fact(value: str, confidence: float, evidence: str) -> Fact:
    return Fact(value=value, source="inferred", option="--loss", confidence=confidence, evidence=evidence)
