"""The loss that the victim was trained on, and margins."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, one_hot

from ..contract.attack import generator
from ..contract.recipe import Loss, Recipe
from ..contract.victim import Victim


@dataclass(frozen=True)
class Objective:
    """What training minimised.

    Attributes:
        loss: As in :class:`.recipe.Recipe`.
        smoothing: Share of a label of the cross-entropy that is spread over all classes.
        views: Versions of each record whose losses are averaged; see :func:`viewed`.
    """

    loss: Loss = "cross-entropy"
    smoothing: float = 0.0
    views: int = 1

    def slope(self, classes: int) -> float:
        """Return how much more a logit's mean gradient falls when all labels are of its class instead of none."""
        return {"cross-entropy": 1 - self.smoothing, "bce": 1 / classes, "mse": 2 / classes}[self.loss]


CROSS_ENTROPY = Objective()


def goal_of(recipe: Recipe) -> Objective:
    """Return what a training minimised."""
    return Objective(recipe.loss, recipe.label_smoothing, recipe.views)


def viewed(victim: Victim, x: Tensor, labels: Tensor, views: int) -> tuple[Tensor, Tensor]:
    """Return the versions (n * views, ...) of inputs (n, ...) whose mean loss a step minimises, and their labels.

    Where training mirrored and shifted every image at random, the mean over fixed versions tends to the expected
    gradient as their number grows; what the draws of each step added to that is not simulated. The versions are the
    same for all records and steps. In train mode batch norm sees all of them as one batch.

    Args:
        victim: Its medium makes the versions.
        x: Inputs.
        labels: (n,) class indices or (n, k) class probabilities.
        views: Versions of each record, itself first; 1 returns ``x`` and ``labels`` themselves.

    Raises:
        Unsupported: The medium has no versions.
    """
    if views == 1:
        return x, labels
    return victim.medium.versions(x, views, generator(0)), labels.repeat_interleave(views, 0)


def training_loss(logits: Tensor, labels: Tensor, goal: Objective = CROSS_ENTROPY) -> Tensor:
    """Return the mean loss of logits (b, k), a scalar; cross-entropy of a single logit (b, 1) is the logistic loss.

    Args:
        logits: One row per sample.
        labels: (b,) class indices, 0 or 1 for a single logit; or (b, k) probabilities, (b, 2) for a single logit.
        goal: What training minimised.
    """
    if goal.loss == "cross-entropy" and logits.shape[1] > 1:
        return cross_entropy(logits, labels, label_smoothing=goal.smoothing)
    if goal.loss == "mse":
        return mse_loss(logits, _targets(logits, labels))
    targets = _targets(logits, labels)
    return binary_cross_entropy_with_logits(logits, targets * (1 - goal.smoothing) + goal.smoothing / 2)


def _targets(logits: Tensor, labels: Tensor) -> Tensor:
    """Return (b, k) what the logits of each sample are to be, of labels in either form."""
    if labels.dim() == 2:
        return (labels[:, 1:] if logits.shape[1] == 1 else labels).to(logits)
    return (labels[:, None] if logits.shape[1] == 1 else one_hot(labels, logits.shape[1])).to(logits)


def each_loss(logits: Tensor, labels: Tensor, goal: Objective = CROSS_ENTROPY) -> Tensor:
    """Return (b,) losses whose mean is :func:`training_loss`."""
    return torch.stack([training_loss(logits[i : i + 1], labels[i : i + 1], goal) for i in range(len(logits))])


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
