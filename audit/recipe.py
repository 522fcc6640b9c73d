"""From what the user said and what the files show to a recipe, every field with its provenance."""

import math
from dataclasses import dataclass

import torch

from .. import MemauditError
from ..attacks.base import Normalisation, Recipe
from .data.base import TrainingSet
from .families.base import Architecture
from .report import Fact
from .request import ScanRequest

PRESETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}
"""Normalisations by name: (mean, standard deviation) per channel."""

ASSUMED_LR = 0.01
ASSUMED_EPOCHS = 20
ASSUMED_FULL_BATCH = 32


class RecipeError(MemauditError):
    """A training hyper-parameter out of its range."""


@dataclass(frozen=True)
class Known:
    """A recipe as far as it is known before any search.

    Attributes:
        recipe: Complete but for the learning rate, which is NaN where it is unknown.
        facts: Provenance by the names of :class:`memaudit.audit.report.Recipe`; no ``lr`` where it is unknown.
    """

    recipe: Recipe
    facts: dict[str, Fact]


def normalisation(text: str | None, architecture: Architecture) -> tuple[Normalisation, Fact]:
    """Return the normalisation that ``text`` names, or the usual one for such images, marked as assumed.

    Raises:
        RecipeError: An unknown name, numbers that do not parse, a count that is not the network's channels, std <= 0.
    """
    channels, height, _ = architecture.shape
    if text is None:
        name = "half" if channels != 3 else "cifar10" if height == 32 else "imagenet"
        why = f"the usual one for {channels} x {height} x {height} images"
        return Normalisation(*PRESETS[name]), Fact(value=name, source="assumed", option="--normalise", evidence=why)
    mean, std = PRESETS[text] if text in PRESETS else _numbers(text)
    for part in (mean, std):
        if len(part) not in (1, channels):
            raise RecipeError(
                f"--normalise {text} has {len(part)} channels; the network takes {channels}.",
                "Give one number, or one a channel.",
            )
    if not (all(map(math.isfinite, mean)) and all(0 < value < math.inf for value in std)):
        raise RecipeError(f"--normalise {text} needs finite means and positive deviations.", "Check the numbers.")
    return Normalisation(mean, std), Fact(value=text, source="given", option="--normalise")


def _numbers(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in text.split(";"))
    except ValueError:
        raise RecipeError(
            f"--normalise {text} is neither {', '.join(PRESETS)} nor numbers.",
            "Write numbers as 'MEAN,MEAN,MEAN;STD,STD,STD'.",
        ) from None
    return mean, std


def known(request: ScanRequest, architecture: Architecture, data: TrainingSet | None, moved: frozenset[str]) -> Known:
    """Return the recipe before any search; of ``data`` only the count is used."""
    size = _size(request, architecture, data)
    count = int(size.value)  # type: ignore[arg-type]
    momentum = _or(request.momentum, 0.0, "--momentum", "plain SGD")
    facts = {
        "optimizer": Fact(value="sgd", source="assumed", evidence="the only update rule simulated so far"),
        "size": size,
        "batch_size": _or(
            request.batch_size, min(count, ASSUMED_FULL_BATCH), "--batch-size", f"full batch up to {ASSUMED_FULL_BATCH}"
        ),
        "epochs": _or(request.epochs, ASSUMED_EPOCHS, "--epochs", "as in the SimuDy paper"),
        "momentum": momentum,
        "nesterov": _or(request.nesterov, False, "--nesterov", "plain momentum"),
        "weight_decay": _or(request.weight_decay, 0.0, "--weight-decay", "no weight decay"),
        "batch_norm": _batch_norm(moved),
        "image_size": _image_size(request, architecture),
    }
    if request.nesterov is None and not momentum.value:
        facts["nesterov"] = Fact(value=False, source="inferred", option="--nesterov", evidence="there is no momentum")
    if request.lr is not None:
        facts["lr"] = Fact(value=request.lr, source="given", option="--lr")
    names = ("batch_size", "epochs", "momentum", "nesterov", "weight_decay")
    values = {name: facts[name].value for name in names}
    lr = float("nan") if request.lr is None else request.lr
    return Known(Recipe(size=count, lr=lr, **values), facts)  # type: ignore[arg-type]


def check(request: ScanRequest) -> None:
    """Refuse numbers out of range before anything is read. Raises :class:`RecipeError`."""
    limits = {
        "size": (1, 10**6), "batch_size": (1, 10**9), "epochs": (1, 10**6), "lr": (0, None), "momentum": (0, 1),
        "weight_decay": (0, None), "max_time": (0, None), "max_iterations": (1, None), "image_size": (1, 10**5),
        "seed": (0, 2**63),
    }  # fmt: skip
    for name, (low, high) in limits.items():
        value = getattr(request, name)
        if value is None:
            continue
        strict = name in ("lr", "max_time")
        if not (value > low if strict else value >= low) or value == float("inf") or (high and value >= high):
            option = "--" + name.replace("_", "-")
            bound = f"{'more than' if strict else 'at least'} {low}" + (f" and less than {high}" if high else "")
            raise RecipeError(f"{option} {str(value)[:40]} is out of range.", f"Give a number of {bound}.")
    if request.matching not in ("hungarian", "greedy"):
        raise RecipeError(f"--matching {request.matching} is not known.", "Use hungarian or greedy.")
    if request.nesterov and not request.momentum:
        raise RecipeError("--nesterov needs a momentum.", "Give --momentum as well, for example 0.9.")


def _or(given: float | bool | None, otherwise: float | bool, option: str, why: str) -> Fact:
    if given is not None:
        return Fact(value=given, source="given", option=option)
    return Fact(value=otherwise, source="assumed", option=option, evidence=why)


def _size(request: ScanRequest, architecture: Architecture, data: TrainingSet | None) -> Fact:
    if request.size is not None:
        return Fact(value=request.size, source="given", option="--size")
    if data is not None:
        return Fact(value=len(data.images), source="given", option="--size", evidence="the number of images in --data")
    size = min(2 * architecture.classes, 32)
    return Fact(value=size, source="assumed", option="--size", evidence="two samples a class, up to 32")


def _image_size(request: ScanRequest, architecture: Architecture) -> Fact:
    _, height, width = architecture.shape
    value = height if height == width else f"{height}x{width}"
    if request.image_size is not None:
        return Fact(value=request.image_size, source="given", option="--image-size")
    if "image_size" in architecture.assumed:
        why = "any size fits this network; this one is usual"
        return Fact(value=value, source="assumed", option="--image-size", evidence=why)
    return Fact(value=value, source="inferred", option="--image-size", evidence="read from the network's shapes")


def _batch_norm(moved: frozenset[str]) -> Fact:
    if any(name.endswith(("running_mean", "running_var")) for name in moved):
        return Fact(value="train", source="inferred", evidence="running statistics moved; they are simulated as fixed")
    return Fact(value="eval", source="inferred", evidence="no running statistics moved")


def pick_device(text: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` names. Raises :class:`RecipeError`."""
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = text.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise RecipeError(f"--device {text} is not a device.", "Use auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise RecipeError(
            f"--device {text} is not there: this machine shows {torch.cuda.device_count()} CUDA devices.",
            "Use --device cpu.",
        )
    return torch.device(text)
