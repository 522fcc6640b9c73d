"""What a user says about the training, as plain values. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...attacks.contract.recipe import Loss, Mode, Optimizer, Schedule
from .fields import FIELDS, SAID, check


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a user says about the training. ``None`` says nothing: the value is then read, searched for or assumed.

    Attributes:
        image_size: Height and width of the input images in pixels; read from the network where possible.
        normalise: ``cifar10``, ``imagenet``, ``half``, ``none``, or ``MEAN,...;STD,...``.
        recipe: A TOML file of ``memaudit infer``; what is given beside it wins.
        size: Number of training samples; the count of ``data`` by default. ``auto`` to read it off the change or, where
            that is not possible, to take too many and recognise the superfluous ones by their influence.
        labels: How many samples each class has: ``data`` for those of the training set, or ``CLASS:COUNT,...``.
        optimizer: ``sgd``, ``adam`` or ``adamw``; read off the change by default.
        lr: Learning rate; searched for by default.
        batch_size: Samples per step; full batch up to 32 by default.
        epochs: Passes over the training set; 20 by default.
        momentum: Momentum factor, in [0, 1); 0 by default.
        nesterov: Whether momentum was Nesterov's.
        weight_decay: L2 factor (decoupled for ``adamw``); what the change shows by default, or 0.
        schedule: ``constant``, ``linear`` or ``cosine``; constant by default.
        warmup: Steps of linear warm-up; 0 by default.
        clip: Global gradient norm that training clipped at; 0, no clipping, by default.
        batch_norm: ``train`` or ``eval``; read off the running statistics by default.
        loss: ``cross-entropy``, ``bce`` or ``mse``; read off the head's change by default.
        label_smoothing: Of the cross-entropy, in [0, 1); 0 by default.
        views: Versions of each image, flipped and shifted, over which a simulated step averages, 1 to 64; 1 by default.
    """

    image_size: int | None = None
    normalise: str | None = None
    recipe: str | Path | None = None
    size: int | Literal["auto"] | None = None
    labels: str | None = None
    optimizer: Optimizer | None = None
    lr: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    weight_decay: float | None = None
    schedule: Schedule | None = None
    warmup: int | None = None
    clip: float | None = None
    batch_norm: Mode | None = None
    loss: Loss | None = None
    label_smoothing: float | None = None
    views: int | None = None

    def check_fields(self) -> None:
        """Refuse what is out of range, before anything is read. Raises :class:`.fields.RecipeError`."""
        check({name: getattr(self, name) for name in SAID})

    def said(self) -> Mapping[str, Any]:
        """Return what was said of the fields of a recipe file, by name; ``size`` and ``labels`` as written."""
        found = {name: getattr(self, name) for name in SAID if FIELDS[name].simulated}
        return {name: value for name, value in found.items() if value is not None}
