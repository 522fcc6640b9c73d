"""The vocabulary of the attacks: victim, recipe, state, reconstruction, and the contract of an attack.

Notation: n dummies, m training images, k classes, b batch size, S simulated steps, (c, h, w) an image.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .. import MemauditError
from .params import Params


class Unsupported(MemauditError):
    """The attack cannot treat this victim or recipe; the message says why and what it could treat."""


Optimizer = Literal["sgd", "adam", "adamw"]

MAX_TOLERANCE = 0.1
"""Cosine distance above which the paper calls a run stuck: no option may call that converged."""

ALPHA = "alpha"
"""The entry of a state's memory that holds the weight of the images' prior, which one attack hands on to another."""


def require(attack: object, positive: Sequence[str], others: Sequence[str] = ()) -> None:
    """Check an attack's options.

    Raises:
        ValueError: One named in ``positive`` is not, one of ``others`` is negative, or a tolerance is above
            :data:`MAX_TOLERANCE`.
    """
    for name in (*positive, *others):
        value = getattr(attack, name)
        if value < 0 or (name in positive and not value):
            raise ValueError(f"{name} must {'be positive' if name in positive else 'not be negative'}")
        if name == "tolerance" and value > MAX_TOLERANCE:
            raise ValueError(f"tolerance must be at most {MAX_TOLERANCE}")


@dataclass(frozen=True)
class Normalisation:
    """Per-channel affine map between pixels in [0, 1] and what the network sees; the only place where units change.

    Attributes:
        mean: One number per channel, or a single number for any count of channels.
        std: As ``mean``; positive.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def _columns(self, like: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, 1, 1)
        return like.new_tensor(self.mean).view(shape), like.new_tensor(self.std).view(shape)

    def to_pixels(self, x: Tensor) -> Tensor:
        """Map network inputs (n, c, h, w) to pixels (n, c, h, w), not clamped."""
        mean, std = self._columns(x)
        return x * std + mean

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """Map pixels (n, c, h, w) in [0, 1] to network inputs (n, c, h, w)."""
        mean, std = self._columns(pixels)
        return (pixels - mean) / std


@dataclass(frozen=True)
class Victim:
    """A network before and after training, and all that an attacker knows of it.

    Attributes:
        module: The architecture without weights (its own tensors may live on the meta device), in eval mode.
        theta0: Trainable parameters before training; those that did not move are in ``buffers``.
        thetaf: The same names after training.
        buffers: Frozen parameters and buffers (batch-norm statistics), as before training.
        running: Batch-norm running statistics after training, by name; empty where none moved.
        masked: Names of ``theta0`` whose change is mostly rounding noise: simulated, but not compared.
        shape: (c, h, w) of one input image.
        classes: Number of logits k; one for a binary classifier with the logistic loss.
        normalisation: Pixels to network inputs.
    """

    module: nn.Module
    theta0: Params
    thetaf: Params
    buffers: Params
    shape: tuple[int, int, int]
    classes: int
    normalisation: Normalisation = Normalisation()
    running: Params = field(default_factory=dict)
    masked: frozenset[str] = frozenset()
    delta: Params = field(init=False)
    """``thetaf - theta0`` without what is masked: what every attack explains."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", self.change(self.thetaf))

    @property
    def like(self) -> Tensor:
        """Any parameter: its device and dtype are those of all tensors of this victim."""
        return next(iter(self.theta0.values()))

    @property
    def categories(self) -> int:
        """How many values a label takes: k, and two where there is one logit."""
        return max(self.classes, 2)

    def logits(self, params: Params, x: Tensor) -> Tensor:
        """Return logits (b, k) of normalised images ``x`` (b, c, h, w) under trainable parameters ``params``.

        Also of a network that squeezes its only logit away.
        """
        result: Tensor = functional_call(self.module, {**self.buffers, **params}, (x,))
        return result.reshape(-1, 1) if result.ndim < 2 else result

    def change(self, final: Params) -> dict[str, Tensor]:
        """Return ``final - theta0`` for every parameter that is compared; ``final`` may hold more."""
        return {name: final[name] - value for name, value in self.theta0.items() if name not in self.masked}


@dataclass(frozen=True)
class Recipe:
    """How the victim was trained, every field known or guessed; names and meanings as in :mod:`torch.optim`.

    Attributes:
        size: Number of training samples n, at least 1.
        lr: Learning rate at the top of the schedule, positive.
        batch_size: Samples a step; larger than ``size`` means full batch.
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
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: int = 0
    clip: float = 0.0
    batch_norm: Literal["eval", "train"] = "eval"
    labels: tuple[int, ...] | None = None

    @property
    def batches(self) -> int:
        """Steps an epoch."""
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

        What a parameter change tells of learning rate, steps and momentum together. For Adam, whose steps do not
        depend on the gradient's norm, the sum of the learning rates.
        """
        momentum = self.momentum if self.optimizer == "sgd" else 0.0
        total = velocity = 0.0
        for step in range(self.steps):
            velocity = momentum * velocity + (1 - self.dampening if momentum and step else 1.0)
            total += self.rate(step) * (1 + momentum * velocity if self.nesterov and momentum else velocity)
        return total


@dataclass(frozen=True)
class State:
    """Everything an attack carries from one step to the next: tensors and two numbers, so that it can be saved.

    Attributes:
        step: Steps taken so far.
        variables: What is optimised, e.g. ``x`` (n, c, h, w).
        constants: Whole numbers, kept on the CPU, e.g. ``plan`` (S, b), drawn once, or ``labels`` (n,), rarely changed.
        memory: Optimiser moments and the best iterate so far.
        loss: The attacker-visible dissimilarity before the last update; lower is better, comparable between steps.
        terms: Named diagnostics, for display and for the search, e.g. ``change_ratio``.
        done: The attack's own schedule is over.
    """

    step: int
    variables: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    memory: Mapping[str, Tensor]
    loss: float = float("inf")
    terms: Mapping[str, float] = field(default_factory=dict)
    done: bool = False


@dataclass(frozen=True)
class Reconstruction:
    """What an attack claims the training data were.

    Attributes:
        images: (n, c, h, w) pixels in [0, 1].
        normalised: (n, c, h, w) the same before denormalisation and clamping, as the paper scores them.
        labels: (n,) class indices.
        influence: (n,) norm of each dummy's summed gradient (SimuDy paper, section 4.5).
        loss: Attacker-visible loss of the iterate that these images come from.
        twins: (n,) booleans: dummies that only share the image of a more influential one; ``None`` if not looked for.
        explained: Whether a low loss speaks for the images; not where they were made up to have the right features.
    """

    images: Tensor
    normalised: Tensor
    labels: Tensor
    influence: Tensor
    loss: float
    twins: Tensor | None = None
    explained: bool = True


class Attack(Protocol):
    """A stepper: a frozen dataclass whose fields are its options and whose docstring cites the paper.

    It has no loop, no file and no screen; :func:`memaudit.audit.drive.drive` owns those.
    """

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def iterations(self) -> int:
        """Length of the attack's schedule, in steps."""
        ...

    @property
    def tolerance(self) -> float:
        """The attack counts as converged when its final loss is at most this."""
        ...

    def init(self, victim: Victim, recipe: Recipe, seed: int) -> State:
        """Draw the dummies. Raises :class:`Unsupported` with the reason."""
        ...

    def step(self, victim: Victim, recipe: Recipe, state: State) -> State:
        """Return the state after one update of the dummies; ``state`` itself is untouched."""
        ...

    def finish(self, victim: Victim, recipe: Recipe, state: State) -> Reconstruction:
        """Read the reconstruction off a state, complete or not."""
        ...


@runtime_checkable
class Fitting(Protocol):
    """An attack that can do the same work in less memory, slower."""

    def fitted(self, victim: Victim, recipe: Recipe, state: State, limit: float) -> State:
        """Return ``state`` with a plan of work that ``limit`` bytes suffice for, beyond what is in use.

        Raises:
            Unsupported: No plan is small enough.
        """
        ...

    def smaller(self, state: State) -> tuple[State, str] | None:
        """Return ``state`` with the next smaller plan, and that plan's name; ``None`` if there is none."""
        ...


def generator(seed: int) -> torch.Generator:
    """Return a CPU generator: random draws are made on the CPU so that every device sees the same numbers."""
    return torch.Generator().manual_seed(seed)
