"""From what the user said and what the files show to a recipe, every field with its provenance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...attacks.contract.recipe import Recipe
from ..data.base import TrainingSet
from ..families.base import Architecture
from ..report.facts import ChangeFacts, Delta, Fact
from . import file as recipe_file
from .decay import no_decay, shrunk
from .fields import FIELDS, RecipeError, of_optimizer
from .given import Given
from .labels import labels
from .shapes import shape
from .sources import assumed, given, inferred, read_off

MOST_STEPS = 100_000
"""More are refused: an attack simulates all of them hundreds of times."""


@dataclass(frozen=True)
class Known:
    """A recipe as far as it is known before any search.

    Attributes:
        recipe: Complete but for the learning rate, which is NaN where it is unknown.
        facts: Provenance by the names of :data:`.fields.FIELDS`; no ``lr`` where it is unknown.
    """

    recipe: Recipe
    facts: dict[str, Fact]


def known(
    said: Given,
    architecture: Architecture,
    data: TrainingSet | None,
    delta: Delta | None = None,
    artefacts: Mapping[str, Fact] = MappingProxyType({}),
) -> Known:
    """Return the recipe before any search; of ``data`` only counts are used.

    What the user says wins over the recipe file, that over training files beside the checkpoint, that over what the
    change of the parameters shows, and that over what is usual.

    Raises:
        RecipeError: Values that contradict each other or the network, or a training that is too long to simulate.
        RecipeFileError: A recipe file that cannot be used.
    """
    read = delta.facts if delta else ChangeFacts()
    facts = _facts(said, {**artefacts, **_filed(said), **_options(said)}, architecture, data, read)
    values: dict[str, Any] = {name: fact.value for name, fact in facts.items() if FIELDS[name].simulated}
    counts = tuple(values["labels"]) if "labels" in values else None
    recipe = Recipe(**{"lr": math.nan, **values, "labels": counts})
    if recipe.nesterov and (not recipe.momentum or recipe.dampening):
        raise RecipeError("--nesterov needs a momentum, and no dampening.", "Give --momentum as well, for example 0.9.")
    if recipe.views > 1 and architecture.medium != "image":
        raise RecipeError(f"--views {recipe.views} is of images; these records are not.", "Leave --views out.")
    if recipe.steps > MOST_STEPS:
        raise RecipeError(
            f"This recipe has {recipe.steps:,} steps ({facts['epochs'].value} epochs, {facts['epochs'].source}), more "
            "than can be simulated.",
            f"Give --epochs and --batch-size of at most {MOST_STEPS:,} steps.",
        )
    return Known(recipe, facts)


def _facts(
    said: Given,
    told: Mapping[str, Fact],
    architecture: Architecture,
    data: TrainingSet | None,
    read: ChangeFacts,
) -> dict[str, Fact]:
    size = _size(said, told, architecture, data, read)
    count = int(size.number)
    optimizer = told.get("optimizer") or _optimizer(read, told)
    facts = {"optimizer": optimizer, "size": size, **shape(told, count, read)}
    if optimizer.value != "sgd":
        foreign = of_optimizer("sgd") - said.said().keys()
        told = {name: fact for name, fact in told.items() if name not in foreign}
    usual = [name for name, field in FIELDS.items() if field.why and name not in facts]
    facts |= {name: told.get(name) or assumed(name) for name in usual}
    if architecture.medium != "image" and "views" not in told:
        del facts["views"]
    if optimizer.value != "sgd" and "momentum" not in told:
        facts["momentum"] = assumed("momentum", evidence="Adam has none")
    facts["weight_decay"] = told.get("weight_decay") or no_decay(read) or facts["weight_decay"]
    if not facts["momentum"].value and "nesterov" not in told:
        facts["nesterov"] = inferred("nesterov", False, "there is no momentum")
    facts["batch_norm"] = told.get("batch_norm") or _batch_norm(read)
    if "loss" in read and "loss" not in told:
        facts["loss"] = read_off("loss", read["loss"])
    facts |= _image_size(said, architecture)
    facts |= {name: told[name] for name in ("lr", "beta1", "beta2", "eps", "dampening") if name in told}
    counts = labels(said, told, architecture, data, count)
    return facts | ({"labels": counts} if counts else {})


def _options(said: Given) -> dict[str, Fact]:
    """Return what the user gave as an option."""
    return {name: given(name, value) for name, value in said.said().items() if name not in ("size", "labels")}


def _filed(said: Given) -> dict[str, Fact]:
    """Return what the recipe file says."""
    if said.recipe is None:
        return {}
    values = recipe_file.load(Path(said.recipe))
    return {name: given(name, value, f"{said.recipe}: {name}") for name, value in values.items()}


def _optimizer(read: ChangeFacts, told: Mapping[str, Fact]) -> Fact:
    if "momentum" in told and told["momentum"].value:
        return given("optimizer", "sgd", "a momentum was given")
    if "optimizer" not in read:
        return assumed("optimizer")
    fact = read_off("optimizer", read["optimizer"])
    if fact.value == "adam" and shrunk(read):
        why = f"{fact.evidence}; weights without a gradient all shrank by one factor, as AdamW's decay does"
        return fact.model_copy(update={"value": "adamw", "evidence": why})
    return fact


def _size(
    said: Given,
    told: Mapping[str, Fact],
    architecture: Architecture,
    data: TrainingSet | None,
    read: ChangeFacts,
) -> Fact:
    if said.size is None and "size" in told:
        return told["size"]
    if said.size is None and data is not None:
        return given("size", len(data.records), "the number of records in --data")
    if said.size not in (None, "auto"):
        return given("size", said.size)
    if "size" in read:
        return read_off("size", read["size"])
    why = "two samples per class, up to 32; superfluous ones show by their small influence"
    return assumed("size", min(2 * architecture.categories, 32), why)


def _image_size(said: Given, architecture: Architecture) -> dict[str, Fact]:
    """Return the size of images as a fact; none where the network takes other records."""
    if architecture.medium != "image":
        return {}
    return {"image_size": _side(said, architecture)}


def _side(said: Given, architecture: Architecture) -> Fact:
    _, height, width = architecture.shape
    value = height if height == width else f"{height}x{width}"
    if said.image_size is not None:
        return given("image_size", said.image_size)
    if "image_size" in architecture.assumed:
        return assumed("image_size", value, "any size fits this network; this one is usual")
    return inferred("image_size", value, "read from the network's shapes")


def _batch_norm(read: ChangeFacts) -> Fact:
    if "batch_norm" in read:
        return read_off("batch_norm", read["batch_norm"])
    return inferred("batch_norm", "eval", "there are no running statistics")
