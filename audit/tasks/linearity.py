"""``memaudit linearity``: would training this model on these images be linear enough for single-gradient attacks?

::

    from memaudit.audit.tasks.linearity import LinearityRequest, measure
    found = measure(LinearityRequest("before.pt", data="train/", normalise="cifar10"))
    print(found.value)
"""

import dataclasses
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from ...attacks.contract.attack import generator
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ...attacks.images.medium import Images
from ...attacks.simulation.linearity import linearity
from ..checkpoints.pair import Checkpoint, CheckpointPair, check_key, read
from ..data.base import DataError, TrainingSet
from ..data.opening import open_source
from ..events import Event, Listener, silence
from ..families.base import IMAGE_SIZE, Architecture, UnknownArchitecture
from ..families.detect import detect
from ..families.victim import placed
from ..families.victim import victim as make_victim
from ..machine.device import pick_device
from ..machine.numerics import exact_numerics
from ..printable import json_text
from ..recipe.fields import FIELDS, RecipeError, check
from ..recipe.normalise import normalisation
from ..report.facts import Fact
from ..request import check_ranges
from ..scan.assumed import tell_assumed

LINEAR, CURVED = 0.9, 0.75
"""From the first on a training is called nearly linear, below the second far from it (SimuDy, Table 1)."""

REFERENCE = "in the SimuDy paper an MLP has 0.91 to 0.95 and a ResNet-18 0.60"


@dataclass(frozen=True)
class LinearityRequest:
    """What is trained on what, and how; ``checkpoint`` and ``data`` must be given.

    Attributes:
        checkpoint: The network that training would start from.
        data: Images with labels: a folder with one sub-folder per class, ``.npz``, ``.pt``, ``.safetensors`` or
            ``torchvision:NAME:ROOT``.
        model: ``auto``, ``torchvision:NAME``, ``timm:NAME``, ``FILE.py:FUNCTION`` or ``PKG.MOD:FUNCTION``.
        key: Path of the state dict in a torch file that holds several.
        image_size: Height and width of the input images in pixels; read from the network where possible.
        normalise: ``cifar10``, ``imagenet``, ``half``, ``none``, or ``MEAN,...;STD,...``.
        size: How many of the images, the first ones; all by default.
        lr: Learning rate.
        batch_size: Samples per step; full batch by default.
        epochs: Passes over the images, at least 2.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        momentum: Momentum factor of SGD.
        weight_decay: An L2 gradient for ``sgd`` and ``adam``, decoupled for ``adamw``.
        batch_norm: ``train`` if batch norm uses each batch's statistics, ``eval`` if those of the checkpoint.
        seed: Deals the images to batches.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    checkpoint: str | Path
    data: str | Path
    model: str = "auto"
    key: str = ""
    image_size: int | None = None
    normalise: str | None = None
    size: int | None = None
    lr: float = 0.01
    batch_size: int | None = None
    epochs: int = 20
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_norm: Literal["train", "eval"] = "train"
    seed: int = 0
    device: str = "auto"


class Linearity(BaseModel):
    """What was measured, and of what."""

    model_config = ConfigDict(frozen=True)

    value: float = Field(description="M_lin in [-1, 1]: the mean cosine between a sample's gradients at two epochs.")
    lowest: float = Field(description="The same of the sample where it is lowest.")
    highest: float = Field(description="The same of the sample where it is highest.")
    samples: int
    epochs: int
    architecture: str
    checkpoint: str
    checkpoint_sha256: str
    data: str
    data_sha256: str
    normalise: str
    recipe: Recipe
    seed: int
    device: str
    seconds: float

    def to_json(self) -> str:
        """Return the measurement as JSON text."""
        return json_text(json.loads(self.model_dump_json())) + "\n"

    @property
    def meaning(self) -> str:
        """What the value says, in one sentence."""
        if self.value >= LINEAR:
            what = "nearly linear training, to which attacks on a single gradient apply"
        elif self.value < CURVED:
            what = "far from linear training, which an attack has to simulate step by step (simudy)"
        else:
            what = "training between linear and not; attacks on a single gradient lose accuracy"
        return f"{what}; {REFERENCE}"


def measure(request: LinearityRequest, listener: Listener = silence) -> Linearity:
    """Simulate the training that ``request`` describes and measure how linear it is.

    Raises:
        MemauditError: Unusable input or options, in one sentence and a hint.
    """
    started = time.monotonic()
    _check(request)
    torch.set_flush_denormal(True)
    device = pick_device(request.device)
    listener(Event("load", "checkpoint"))
    found = read(request.checkpoint, request.key)
    check_key(request.key, found)
    architecture, module = detect(found.tensors, request.model, request.image_size)
    scale, seen = normalisation(request.normalise, architecture)
    if architecture.medium != "image":
        raise UnknownArchitecture(f"{architecture.name} takes no images, and linearity is measured on images alone.")
    victim = _victim(found, architecture, module, Images(scale), device)
    listener(Event("load", "images"))
    data = open_source(str(request.data), architecture.shape)
    images, labels = _samples(request, data, architecture)
    tell_assumed({**seen, **_image_size(architecture)}, architecture, listener)
    recipe = _recipe(request, len(images))
    listener(Event("linearity", f"{architecture.name}, {len(images)} images, {recipe.epochs} epochs"))
    values = _values(victim, recipe, images, labels, request.seed, listener)
    return Linearity(
        value=float(values.mean()),
        lowest=float(values.min()),
        highest=float(values.max()),
        samples=len(images),
        epochs=recipe.epochs,
        architecture=architecture.name,
        checkpoint=found.path,
        checkpoint_sha256=found.sha256,
        data=str(request.data),
        data_sha256=data.digest,
        normalise=str(seen["normalise"].value),
        recipe=recipe,
        seed=request.seed,
        device=str(victim.like.device),
        seconds=time.monotonic() - started,
    )


def _check(request: LinearityRequest) -> None:
    check({name: value for name, value in vars(request).items() if name in FIELDS})
    check_ranges({"seed": request.seed})
    if request.epochs < 2:
        raise RecipeError(f"--epochs {request.epochs} leaves nothing to compare.", "Give at least 2.")


def _victim(
    found: Checkpoint,
    architecture: Architecture,
    module: torch.nn.Module,
    medium: Images,
    device: torch.device,
) -> Victim:
    """Return the network with every parameter trainable; it ends where it starts, as no end is known."""
    elsewhere = {name: torch.where(value > 0, -1, 1).to(value) for name, value in found.tensors.items()}
    pair = CheckpointPair(found, dataclasses.replace(found, tensors=elsewhere))
    made = placed(make_victim(pair, architecture, module, medium), pair, architecture, device)
    return dataclasses.replace(made, thetaf=made.theta0, running={}, masked=frozenset())


def _samples(
    request: LinearityRequest, data: TrainingSet, architecture: Architecture
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pixels and labels of the images that are asked for."""
    size = request.size or len(data.records)
    if size > len(data.records):
        raise DataError(
            f"{str(request.data)!r} holds {len(data.records)} images, and --size asks for {size}.", "Ask for fewer."
        )
    labels = data.labels[:size]
    unknown, highest = int((labels < 0).sum()), int(labels.max())
    if unknown:
        raise DataError(
            f"{unknown} of {size} images in {str(request.data)!r} have no label, and linearity is that of the loss "
            "on the true labels.",
            "Give one sub-folder per class, or a file with an array 'labels'.",
        )
    if highest >= architecture.categories:
        raise DataError(
            f"{str(request.data)!r} has a label {highest}, and {architecture.name} has classes 0 to "
            f"{architecture.categories - 1}.",
            "Give the images that this network is trained on.",
        )
    return data.records[:size], labels


def _image_size(architecture: Architecture) -> dict[str, Fact]:
    """Return the size of the images as a fact, where it was assumed."""
    if IMAGE_SIZE not in architecture.assumed:
        return {}
    return {"image_size": Fact(value=architecture.shape[1], source="assumed", option="--image-size")}


def _recipe(request: LinearityRequest, size: int) -> Recipe:
    return Recipe(
        size=size,
        lr=request.lr,
        batch_size=min(request.batch_size or size, size),
        epochs=request.epochs,
        momentum=request.momentum,
        weight_decay=request.weight_decay,
        optimizer=request.optimizer,
        batch_norm=request.batch_norm,
    )


def _values(
    victim: Victim, recipe: Recipe, images: torch.Tensor, labels: torch.Tensor, seed: int, listener: Listener
) -> torch.Tensor:
    """Return the linearity of each sample."""

    def tick(done: int, total: int) -> None:
        listener(Event("linearity", "samples", done, total))

    x = victim.medium.encode(images.to(victim.like))
    with exact_numerics():
        values = linearity(victim, recipe, x, labels, generator(seed), tick)
    if not math.isfinite(float(values.sum())):
        raise RecipeError(f"With --lr {recipe.lr:g} this training diverges.", "Give a smaller one.")
    return values
