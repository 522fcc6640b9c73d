"""The loss that the victim was trained on: cross-entropy, logistic where the network has one logit."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot


def training_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (b, k), a scalar; of a single logit (b, 1), the logistic loss.

    Args:
        logits: One row per sample.
        labels: (b,) class indices, 0 or 1 for a single logit; or (b, k) probabilities, (b, 2) for a single logit.
    """
    if logits.shape[1] > 1:
        return cross_entropy(logits, labels)
    positive = labels[:, 1] if labels.dim() == 2 else labels
    return binary_cross_entropy_with_logits(logits[:, 0], positive.to(logits))


def sample_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return (b,) losses whose mean is :func:`training_loss`; ``labels`` are (b,) class indices."""
    if logits.shape[1] > 1:
        return cross_entropy(logits, labels, reduction="none")
    return binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits), reduction="none")


def signs(labels: Tensor, like: Tensor) -> Tensor:
    """Return (n,) numbers -1 and 1 for binary labels 0 and 1, with the dtype and device of ``like``."""
    return 2 * labels.to(like) - 1


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return (b,) margins: logit of the class minus the highest other one; the signed logit where there is but one.

    As in Buzaglo et al., 2023, section 4.1, and Haim et al., 2022, eq. 3.
    """
    if logits.shape[1] == 1:
        return signs(labels, logits) * logits[:, 0]
    own = one_hot(labels.to(logits.device), logits.shape[1]).bool()
    return logits[own] - logits.masked_fill(own, -torch.inf).amax(1)
