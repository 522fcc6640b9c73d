"""From what the user said and what the files show to a recipe, every field with its provenance."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ... import MemauditError
from ...attacks.contract.recipe import Recipe
from ..data.base import TrainingSet
from ..families.base import Architecture
from ..report.facts import ChangeFacts, Delta, Fact
from ..report.facts import Recipe as Reported
from ..request import ScanRequest
from . import file as recipe_file

ASSUMED_LR = 0.01
ASSUMED_EPOCHS = 20
ASSUMED_FULL_BATCH = 32
MOST_STEPS = 100_000
"""More are refused: an attack simulates all of them hundreds of times."""


BATCH_SIZES, MOST_SHAPES = (32, 16, 8), 3
"""Batch sizes that a search tries beside the first one and the full batch, and how many of all these."""

USUAL: dict[str, tuple[float | str, str]] = {
    "momentum": (0.0, "plain SGD; a parameter change hardly tells momentum from a larger learning rate"),
    "nesterov": (False, "plain momentum"),
    "weight_decay": (0.0, "no weight decay"),
    "schedule": ("constant", "a constant learning rate"),
    "warmup": (0, "no warm-up"),
    "clip": (0.0, "no clipping"),
}
"""What is assumed where nothing tells, and why."""

GIVEN = (
    "size", "labels", "optimizer", "lr", "batch_size", "epochs", "momentum", "nesterov", "weight_decay", "schedule",
    "warmup", "clip", "batch_norm",
)  # fmt: skip
"""The options that are part of the recipe."""

OF_SGD = frozenset({"momentum", "nesterov", "dampening"})
"""Fields that a recipe file for SGD has and Adam does not."""

RECIPE_FIELDS = frozenset(field.name for field in dataclasses.fields(Recipe))
REPORTED = frozenset(Reported.model_fields)

LIMITS: dict[str, tuple[float, float | None]] = {
    "size": (1, 10**6), "batch_size": (1, 10**9), "epochs": (1, 10**6), "lr": (0, None), "momentum": (0, 1),
    "weight_decay": (0, None), "warmup": (0, 10**6), "clip": (0, None), "max_time": (0, None), "max_memory": (1, None),
    "max_iterations": (1, None), "image_size": (1, 10**5), "seed": (0, 2**63 - 100), "restarts": (1, 100),
}  # fmt: skip
"""Least value (not itself allowed for a learning rate or a time) and the first too large one."""


class RecipeError(MemauditError):
    """A training hyper-parameter out of its range."""


@dataclass(frozen=True)
class Known:
    """A recipe as far as it is known before any search.

    Attributes:
        recipe: Complete but for the learning rate, which is NaN where it is unknown.
        facts: Provenance by the names of :class:`.facts.Recipe`; no ``lr`` where it is unknown.
    """

    recipe: Recipe
    facts: dict[str, Fact]


def known(
    request: ScanRequest,
    architecture: Architecture,
    data: TrainingSet | None,
    delta: Delta | None = None,
    artefacts: Mapping[str, Fact] = MappingProxyType({}),
) -> Known:
    """Return the recipe before any search; of ``data`` only counts are used.

    What the user says wins over the recipe file, that over training files beside the checkpoint, that over what the
    change of the parameters tells, and that over what is usual.
    """
    said = _said(request)
    told = {**artefacts, **_filed(request), **said}
    read = delta.facts if delta else ChangeFacts()
    size = _size(request, told, architecture, data, read)
    count = int(size.number)
    optimizer = told.get("optimizer") or _optimizer(read, told)
    facts = {"optimizer": optimizer, "size": size, **_shape(told, count, read)}
    usual = dict(USUAL)
    if optimizer.value != "sgd":
        usual["momentum"] = (0.0, "Adam has none")
        told = {name: fact for name, fact in told.items() if name in said or name not in OF_SGD}
    for name, (value, why) in usual.items():
        facts[name] = told.get(name) or Fact(value=value, source="assumed", option=_option(name), evidence=why)
    facts["weight_decay"] = told.get("weight_decay") or _decay(read) or facts["weight_decay"]
    if not facts["momentum"].value and "nesterov" not in told:
        facts["nesterov"] = Fact(
            value=False, source="inferred", option="--nesterov", confidence=1.0, evidence="there is no momentum"
        )
    facts["batch_norm"] = told.get("batch_norm") or _batch_norm(read)
    facts["image_size"] = _image_size(request, architecture)
    facts |= {name: told[name] for name in ("lr", "beta1", "beta2", "eps", "dampening") if name in told}
    labels = _labels(request, told, architecture, data, count)
    if labels:
        facts["labels"] = labels
    values: dict[str, Any] = {name: fact.value for name, fact in facts.items() if name in RECIPE_FIELDS}
    values |= {"lr": values.get("lr", math.nan), "labels": tuple(values["labels"]) if labels else None}
    reported = {name: fact for name, fact in facts.items() if name in REPORTED}
    recipe = Recipe(**values)
    if recipe.nesterov and (not recipe.momentum or recipe.dampening):
        raise RecipeError("--nesterov needs a momentum, and no dampening.", "Give --momentum as well, for example 0.9.")
    if recipe.steps > MOST_STEPS:
        raise RecipeError(
            f"This recipe has {recipe.steps:,} steps ({epochs_said(reported)}), more than can be simulated.",
            f"Give --epochs and --batch-size of at most {MOST_STEPS:,} steps.",
        )
    return Known(recipe, reported)


def epochs_said(facts: Mapping[str, Fact]) -> str:
    """Return where the number of epochs comes from, in words."""
    return f"{facts['epochs'].value} epochs, {facts['epochs'].source}"


def _said(request: ScanRequest) -> dict[str, Fact]:
    """Return what the user gave as an option."""
    names = [name for name in GIVEN if name not in ("size", "labels") and getattr(request, name) is not None]
    return {name: Fact(value=getattr(request, name), source="given", option=_option(name)) for name in names}


def _filed(request: ScanRequest) -> dict[str, Fact]:
    """Return what the recipe file says."""
    if request.recipe is None:
        return {}
    values = recipe_file.load(Path(request.recipe))
    return {
        name: Fact(value=value, source="given", option=_option(name), evidence=f"{request.recipe}: {name}")
        for name, value in values.items()
    }


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def check(request: ScanRequest) -> None:
    """Refuse numbers out of range before anything is read. Raises :class:`RecipeError`."""
    for name, (low, high) in LIMITS.items():
        value = getattr(request, name)
        if value is None or value == "auto":
            continue
        check_range(_option(name), name, value, low, high)
    if request.matching not in ("hungarian", "greedy"):
        raise RecipeError(f"--matching {request.matching} is not known.", "Use hungarian or greedy.")
    for name, words in recipe_file.WORDS.items():
        if getattr(request, name) not in (None, *words):
            raise RecipeError(f"{_option(name)} {getattr(request, name)} is not known.", f"Use {', '.join(words)}.")
    if request.momentum and request.optimizer not in (None, "sgd"):
        raise RecipeError(f"--momentum is SGD's; --optimizer is {request.optimizer}.", "Leave --momentum out.")


def check_range(where: str, name: str, value: Any, low: float, high: float | None) -> None:
    """Raise :class:`RecipeError` where ``value`` is not between ``low`` and ``high``; ``where`` names it."""
    strict = name in ("lr", "max_time")
    if not (value > low if strict else value >= low) or value == float("inf") or (high and value >= high):
        bound = f"{'more than' if strict else 'at least'} {low}" + (f" and less than {high}" if high else "")
        raise RecipeError(f"{where} {str(value)[:40]} is out of range.", f"Give a number of {bound}.")


def _optimizer(read: ChangeFacts, told: Mapping[str, Fact]) -> Fact:
    if "momentum" in told and told["momentum"].value:
        return Fact(value="sgd", source="given", option="--optimizer", evidence="a momentum was given")
    if "optimizer" not in read:
        return Fact(value="sgd", source="assumed", option="--optimizer", evidence="the change does not tell")
    fact = read["optimizer"].model_copy(update={"option": "--optimizer"})
    if fact.value == "adam" and _shrunk(read):
        why = f"{fact.evidence}; weights without a gradient all shrank by one factor, as AdamW's decay does"
        return fact.model_copy(update={"value": "adamw", "evidence": why})
    return fact


def _shrunk(read: ChangeFacts) -> float | None:
    """Return the factor by which decay shrank the weights, where the change shows that there was any."""
    factor = read.get("weight_decay_factor")
    high = factor.interval[1] if factor and factor.interval else None
    if factor is None or high is None or high >= 1 or not 0 < factor.value < 1:
        return None
    return factor.value


def _decay(read: ChangeFacts) -> Fact | None:
    """Return that there was none, where the change shows it; how much there was follows from the learning rate."""
    factor = read.get("weight_decay_factor")
    if factor is None or factor.interval is None or factor.interval[1] is None or factor.interval[1] < 1:
        return None
    return Fact(
        value=0.0, source="inferred", option="--weight-decay", confidence=factor.confidence, evidence=factor.evidence
    )


def shrink(delta: Delta, facts: Mapping[str, Fact]) -> float:
    """Return the factor by which decay shrank the weights where the change tells it and nobody gave a decay; else 1."""
    return (_shrunk(delta.facts) or 1.0) if facts["weight_decay"].source == "assumed" else 1.0


def decay_of(factor: float, travel: float) -> Fact[float]:
    """Return the weight decay that shrinks the weights by ``factor`` over a training of this travel."""
    why = f"the weights shrank by the factor {factor:.8g} over training"
    return Fact(
        value=-math.log(factor) / travel, source="inferred", option="--weight-decay", confidence=0.5, evidence=why
    )


def _size(
    request: ScanRequest,
    told: Mapping[str, Fact],
    architecture: Architecture,
    data: TrainingSet | None,
    read: ChangeFacts,
) -> Fact:
    if isinstance(request.size, int):
        return Fact(value=request.size, source="given", option="--size")
    if request.size is None and "size" in told:
        return told["size"]
    if request.size is None and data is not None:
        return Fact(value=len(data.records), source="given", option="--size", evidence="the number of images in --data")
    if "size" in read:
        return read["size"].model_copy(update={"option": "--size"})
    size = min(2 * architecture.categories, 32)
    why = "two samples a class, up to 32; superfluous ones show by their small influence"
    return Fact(value=size, source="assumed", option="--size", evidence=why)


def _shape(told: Mapping[str, Fact], size: int, read: ChangeFacts) -> dict[str, Fact]:
    """Return batch size and epochs; the number of steps, where it is known, ties them together."""
    batch = told.get("batch_size") or Fact(
        value=min(size, ASSUMED_FULL_BATCH), source="assumed", option="--batch-size",
        evidence=f"full batch up to {ASSUMED_FULL_BATCH}",
    )  # fmt: skip
    epochs = told.get("epochs")
    steps = told.get("steps") or read.get("steps")
    if steps is not None and not (epochs and "batch_size" in told):
        count = int(steps.number)
        if epochs:
            batches = max(1, round(count / int(epochs.number)))
            batch = _tied("batch_size", max(1, -(-size // batches)), steps)
        else:
            epochs = _tied("epochs", max(1, round(count / -(-size // int(batch.number)))), steps)
    epochs = epochs or Fact(
        value=ASSUMED_EPOCHS, source="assumed", option="--epochs", evidence="as in the SimuDy paper"
    )
    return {"batch_size": batch, "epochs": epochs}


def _tied(name: str, value: int, steps: Fact) -> Fact:
    why = f"{steps.value} steps in all: {steps.evidence}"
    return Fact(value=value, source="inferred", option=_option(name), confidence=0.5, evidence=why)


def shapes(facts: Mapping[str, Fact], recipe: Recipe, steps: int | None) -> tuple[tuple[int, int], ...]:
    """Return the (batch size, epochs) that a search should try, the likeliest first.

    Args:
        facts: Provenance by name; a batch size that was given is the only one.
        recipe: The likeliest shape.
        steps: All steps of training, where they are known: then batch size and epochs must fit them.
    """
    first = (recipe.batch_size, recipe.epochs)
    if facts["batch_size"].source == "given":
        return (first,)
    others = [size for size in (recipe.size, *BATCH_SIZES) if size <= recipe.size and size != recipe.batch_size]
    if recipe.batch_norm == "train":
        others = [size for size in others if recipe.size % size != 1]  # a batch of one has no statistics
    found = [first]
    for size in others[:MOST_SHAPES]:
        batches = -(-recipe.size // size)
        if steps is None or facts["epochs"].source == "given":
            found.append((size, recipe.epochs))
        elif steps % batches == 0:
            found.append((size, steps // batches))
    return tuple(found if steps is None or facts["epochs"].source != "given" else found[:1])


def _labels(
    request: ScanRequest, told: Mapping[str, Fact], architecture: Architecture, data: TrainingSet | None, size: int
) -> Fact | None:
    """Return the counts of all classes that were given."""
    counts: list[int]
    if request.labels is None:
        if "labels" not in told:
            return None
        fact = told["labels"]
        counts = [int(count) for count in fact.value] if isinstance(fact.value, list) else []
    elif request.labels == "data":
        if data is None or bool((data.labels < 0).any()):
            raise RecipeError("--labels data needs a --data with labels.", "Give counts as CLASS:COUNT,... instead.")
        counts = torch.bincount(data.labels, minlength=architecture.categories).tolist()
        fact = Fact(value=counts, source="given", option="--labels", evidence="the labels of --data")
    else:
        counts = _counts(request.labels, architecture.categories)
        fact = Fact(value=counts, source="given", option="--labels")
    if len(counts) != architecture.categories or sum(counts) != size:
        raise RecipeError(
            f"--labels count {sum(counts)} samples in {len(counts)} classes; the training set has {size} and the "
            f"network {architecture.categories}.",
            "Make them agree, or give --size.",
        )
    return fact


def _counts(text: str, classes: int) -> list[int]:
    counts = [0] * classes
    try:
        for part in text.split(","):
            label, _, count = part.partition(":")
            if int(label) < 0 or int(count) < 0:
                raise ValueError
            counts[int(label)] += int(count)
    except (ValueError, IndexError):
        raise RecipeError(
            f"--labels {text[:60]} are no counts of {classes} classes.", "Write CLASS:COUNT,... such as 0:4,3:1."
        ) from None
    return counts


def _image_size(request: ScanRequest, architecture: Architecture) -> Fact:
    _, height, width = architecture.shape
    value = height if height == width else f"{height}x{width}"
    if request.image_size is not None:
        return Fact(value=request.image_size, source="given", option="--image-size")
    if "image_size" in architecture.assumed:
        why = "any size fits this network; this one is usual"
        return Fact(value=value, source="assumed", option="--image-size", evidence=why)
    why = "read from the network's shapes"
    return Fact(value=value, source="inferred", option="--image-size", confidence=1.0, evidence=why)


def _batch_norm(read: ChangeFacts) -> Fact:
    if "batch_norm" in read:
        return read["batch_norm"].model_copy(update={"option": "--batch-norm"})
    why = "there are no running statistics"
    return Fact(value="eval", source="inferred", option="--batch-norm", confidence=1.0, evidence=why)
