"""How a victim was trained: every field known or guessed."""

import math
from dataclasses import dataclass
from typing import Literal

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "linear", "cosine"]
Mode = Literal["train", "eval"]
"""Of batch norm."""
Loss = Literal["cross-entropy", "bce", "mse"]


@dataclass(frozen=True)
class Recipe:
    """How the victim was trained, every field known or guessed; names and meanings as in :mod:`torch.optim`.

    Attributes:
        size: Number of training samples n, at least 1.
        lr: Learning rate at the top of the schedule, positive.
        batch_size: Samples per step; larger than ``size`` means full batch.
        epochs: Passes over the training set, at least 1.
        momentum: Of SGD, in [0, 1).
        dampening: In [0, 1]; only with momentum.
        nesterov: Needs momentum and zero dampening.
        weight_decay: Not negative; an L2 gradient for ``sgd`` and ``adam``, decoupled for ``adamw``.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        beta1: Decay of Adam's first moment.
        beta2: Decay of Adam's second moment.
        eps: Added to Adam's denominator.
        schedule: ``constant``; ``linear`` or ``cosine`` fall to zero at the end of training.
        warmup: Steps over which the learning rate first rises linearly.
        clip: Largest global gradient norm of a step; 0 for none.
        batch_norm: ``eval`` if batch norm used its running statistics in training, ``train`` if those of each batch.
        loss: ``cross-entropy`` (logistic where there is one logit); ``bce``, the logistic loss of every logit; or
            ``mse``, the mean squared error of the logits. The latter two, as torch has them, against labels of 0 and 1,
            as means over samples and classes.
        label_smoothing: Share of a label of the cross-entropy that is spread over all classes, in [0, 1).
        views: Versions of each image, mirrored and shifted, whose mean loss a step minimises: the expected gradient of
            a training that augments; 1 for the images as they are. Media other than images have none.
        labels: How many samples each class has (k numbers, two for a single logit; sum ``size``); ``None`` if unknown.
    """

    size: int
    lr: float
    batch_size: int
    epochs: int
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    optimizer: Optimizer = "sgd"
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    schedule: Schedule = "constant"
    warmup: int = 0
    clip: float = 0.0
    batch_norm: Mode = "eval"
    loss: Loss = "cross-entropy"
    label_smoothing: float = 0.0
    views: int = 1
    labels: tuple[int, ...] | None = None

    @property
    def batches(self) -> int:
        """Steps per epoch."""
        return -(-self.size // self.batch_size)

    @property
    def steps(self) -> int:
        """Steps S of the whole training."""
        return self.epochs * self.batches

    def rate(self, step: int) -> float:
        """Return the learning rate of one step.

        Equal to :class:`torch.optim.lr_scheduler.LinearLR` from ``1 / (warmup + 1)`` over ``warmup`` steps, then
        ``LinearLR`` from 1 to 0 or ``CosineAnnealingLR`` to 0 over the rest, stepped after every batch.
        """
        if step < self.warmup:
            return self.lr * (step + 1) / (self.warmup + 1)
        share = (step - self.warmup) / max(self.steps - self.warmup, 1)
        if self.schedule == "linear":
            return self.lr * (1 - share)
        return self.lr * 0.5 * (1 + math.cos(math.pi * share)) if self.schedule == "cosine" else self.lr

    @property
    def travel(self) -> float:
        """How far a gradient of constant norm 1 would have carried the parameters: lr times steps for plain SGD.

        What a parameter change shows of learning rate, steps and momentum together. For Adam, whose steps do not
        depend on the gradient's norm, the sum of the learning rates.
        """
        momentum = self.momentum if self.optimizer == "sgd" else 0.0
        total = velocity = 0.0
        for step in range(self.steps):
            velocity = momentum * velocity + (1 - self.dampening if momentum and step else 1.0)
            total += self.rate(step) * (1 + momentum * velocity if self.nesterov and momentum else velocity)
        return total
