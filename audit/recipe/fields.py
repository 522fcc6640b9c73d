"""The fields of a recipe: one table for options, recipe files, checks, artefacts and reports. No torch here."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from ... import MemauditError
from ...attacks.contract.recipe import Loss, Mode, Optimizer, Recipe, Schedule


class RecipeError(MemauditError):
    """A training hyper-parameter out of its range, or one that contradicts another."""


@dataclass(frozen=True)
class Range:
    """An interval of numbers; ``over`` leaves out its lower end, ``under`` its upper one. Never holds NaN, inf or bool.

    Attributes:
        low: Lower end.
        high: Upper end; ``None`` for no limit.
    """

    low: int
    high: int | None = None
    over: bool = False
    under: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, Real) or isinstance(value, bool):
            return False
        number: Any = value
        high = math.inf if self.high is None else self.high
        below = number < high or (number == self.high and not self.under)
        return bool(below and (number > self.low if self.over else number >= self.low))

    def __str__(self) -> str:
        """Return it in words: ``a number of at least 0 and less than 1``."""
        most = "" if self.high is None else f" and {'less than' if self.under else 'at most'} {self.high:,}"
        return f"a number of {'more than' if self.over else 'at least'} {self.low:,}{most}"


@dataclass(frozen=True)
class Field:
    """One field of a recipe.

    Attributes:
        title: Its name in a report; gaps such as ``{many}`` are for the words of the records.
        kind: Type of its value: bool, int, float, str, a list of counts, or a Literal of words.
        range: Of a number, or of each of several counts.
        help: Of its option; empty where the command line has none.
        form: How the option is written where that is more than a value of its kind.
        besides: What the option may say in place of a value.
        usual: What is assumed where nothing is known.
        why: Why just that; empty where the reason depends on what else is known.
        aliases: What settings beside a checkpoint call it; the first one with a sound value counts.
        spellings: What words there mean, by their lower case; empty where they mean themselves.
        unless: Settings that make an alias wrong where they exceed a number.
        optimizer: The kind of optimiser that alone has it: ``sgd``, or ``adam`` (AdamW too); empty for all.
        name: As in :class:`.contract.recipe.Recipe`, a recipe file and a report; with dashes, as an option.
    """

    title: str
    kind: Any
    range: Range | None = None
    help: str = ""
    form: str | None = None
    besides: tuple[str, ...] = ()
    usual: Any = None
    why: str = ""
    aliases: tuple[str, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)
    unless: Mapping[str, int] = field(default_factory=dict)
    optimizer: Literal["", "sgd", "adam"] = ""
    name: str = ""

    @property
    def option(self) -> str:
        """The option that replaces its value."""
        return "--" + self.name.replace("_", "-")

    @property
    def words(self) -> tuple[str, ...]:
        """The words that it may be; empty where it is not a word."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def simulated(self) -> bool:
        """Whether attacks simulate training with it; a recipe file holds these fields."""
        return self.name in _SIMULATED

    def complaint(self, value: object) -> tuple[str, str] | None:
        """Return what is wrong with a value, as the end of a sentence, and what to do; ``None`` for a sound value."""
        if self.words:
            return None if value in self.words else ("is not known", f"Use {', '.join(self.words)}.")
        if not self._typed(value):
            return "is of the wrong type", f"Give {_KINDS[self.kind]}."
        numbers = value if isinstance(value, list | tuple) else [value]
        if self.range is None or all(number in self.range for number in numbers):
            return None
        return "is out of range", f"Give {self.range}."

    def _typed(self, value: object) -> bool:
        if self.kind is list:
            return isinstance(value, list | tuple) and all(_is_number(item, Integral) for item in value)
        if self.kind in (int, float):
            return _is_number(value, Integral if self.kind is int else Real)
        return isinstance(value, self.kind)


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


_SIMULATED = frozenset(part.name for part in dataclasses.fields(Recipe))

_KINDS = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "one whole number per class",
}  # fmt: skip

# fmt: off
_TABLE = {
    "optimizer": Field(
        "Optimiser", Optimizer, help="Update rule. [default: read off the change]",
        usual="sgd", why="the change does not show it", aliases=("optimizer", "optim"),
        spellings=dict.fromkeys(("adamw", "adamw_torch", "adamw_torch_fused", "adamw_hf"), "adamw")
        | {"sgd": "sgd", "adam": "adam"},
    ),
    "size": Field(
        "Training {many}", int, Range(1, 10**6), form="N|auto", besides=("auto",),
        help="Number of training samples; auto reads it off the change or takes too many and drops the idle ones. "
        "[default: the count of --data, else auto]",
    ),
    "lr": Field(
        "Learning rate", float, Range(0, 10**6, over=True), help="Learning rate. [default: searched for]",
        usual=0.01, aliases=("lr", "learning_rate"),
    ),
    "batch_size": Field(
        "Batch size", int, Range(1, 10**9),
        help="Samples per step. [default: full batch up to 32, and others tried]", usual=32, why="full batch up to 32",
        aliases=("batch_size", "train_batch_size", "per_device_train_batch_size"),
        unless={"gradient_accumulation_steps": 1, "accumulate_grad_batches": 1},
    ),
    "epochs": Field(
        "Epochs", int, Range(1, 10**6), help="Passes over the training set. [default: from the steps, else 20]",
        usual=20, why="as in the SimuDy paper",
        aliases=("epochs", "max_epochs", "num_epochs", "num_train_epochs"), unless={"max_steps": 0},
    ),
    "momentum": Field(
        "Momentum", float, Range(0, 1, under=True), help="Momentum of SGD. [default: 0]", optimizer="sgd",
        usual=0.0, why="plain SGD; a parameter change hardly distinguishes momentum from a larger learning rate",
        aliases=("momentum",),
    ),
    "nesterov": Field(
        "Nesterov momentum", bool, help="Nesterov momentum. [default: no-nesterov]", optimizer="sgd",
        usual=False, why="plain momentum", aliases=("nesterov",),
    ),
    "weight_decay": Field(
        "Weight decay", float, Range(0, 10**6),
        help="L2 factor, decoupled for adamw. [default: read off the change, else 0]",
        usual=0.0, why="no weight decay", aliases=("weight_decay",),
    ),
    "schedule": Field(
        "Learning-rate schedule", Schedule, help="Learning-rate schedule, to zero at the end. [default: constant]",
        usual="constant", why="a constant learning rate", aliases=("schedule", "lr_scheduler_type"),
        spellings={"linear": "linear", "cosine": "cosine"}
        | dict.fromkeys(("constant", "constant_with_warmup"), "constant"),
    ),
    "warmup": Field(
        "Warm-up", int, Range(0, 10**9), help="Steps of linear warm-up. [default: 0]", usual=0, why="no warm-up",
        aliases=("warmup_steps",), unless={"warmup_ratio": 0},
    ),
    "clip": Field(
        "Gradient clipping", float, Range(0, 10**12),
        help="Global gradient norm that training clipped at. [default: none]", usual=0.0, why="no clipping",
        aliases=("max_grad_norm", "gradient_clip_val"),
    ),
    "dampening": Field("Dampening", float, Range(0, 1), aliases=("dampening",), optimizer="sgd"),
    "beta1": Field("Beta1", float, Range(0, 1, under=True), aliases=("beta1", "adam_beta1"), optimizer="adam"),
    "beta2": Field("Beta2", float, Range(0, 1, under=True), aliases=("beta2", "adam_beta2"), optimizer="adam"),
    "eps": Field("Eps", float, Range(0, 10**6), aliases=("eps", "adam_epsilon"), optimizer="adam"),
    "batch_norm": Field("Batch norm", Mode, help="Mode of batch norm in training. [default: read off its statistics]"),
    "loss": Field(
        "Loss", Loss, help="Loss of the training. [default: read off the head's change]", usual="cross-entropy",
        why="the change does not show another one", aliases=("loss", "criterion"),
        spellings=dict.fromkeys(("cross-entropy", "cross_entropy", "crossentropyloss", "ce"), "cross-entropy")
        | dict.fromkeys(("bce", "bcewithlogitsloss", "binary_cross_entropy"), "bce")
        | dict.fromkeys(("mse", "mseloss"), "mse"),
    ),
    "label_smoothing": Field(
        "Label smoothing", float, Range(0, 1, under=True), help="Label smoothing of the cross-entropy. [default: 0]",
        usual=0.0, why="no label smoothing", aliases=("label_smoothing", "label_smoothing_factor", "smoothing"),
    ),
    "views": Field(
        "Versions of each image", int, Range(1, 64),
        help="Training flipped and shifted images at random: average over this many versions of each. [default: 1]",
        usual=1, why="no augmentation",
    ),
    "labels": Field(
        "{Many} of each class", list, Range(0, 10**6), form="data|CLASS:COUNT,...",
        help="How many samples each class has: those of --data, or counts. [default: worked out]",
    ),
    "image_size": Field(
        "Image size", int, Range(1, 10**5, under=True), help="Height and width of the input images in pixels."
    ),
    "normalise": Field("Normalisation", str, help="cifar10, imagenet, half, none, or numbers as 'MEAN,...;STD,...'."),
}
# fmt: on

FIELDS: Mapping[str, Field] = MappingProxyType(
    {name: dataclasses.replace(row, name=name) for name, row in _TABLE.items()}
)
"""Every field by name, in the order of a report."""

SAID = tuple(name for name, found in FIELDS.items() if found.help)
"""Fields that the command line has; all are attributes of :class:`.given.Given`."""


def check(values: Mapping[str, Any]) -> None:
    """Refuse values of options out of range, by field. Raises :class:`RecipeError`; ``None`` says nothing."""
    for name, value in values.items():
        found = FIELDS[name]
        if value is None or value in found.besides or found.kind in (list, str):  # text is parsed where it is used
            continue
        if wrong := found.complaint(value):
            raise RecipeError(f"{found.option} {str(value)[:40]} {wrong[0]}.", wrong[1])
    if values.get("momentum") and values.get("optimizer") not in (None, "sgd"):
        raise RecipeError(f"--momentum is SGD's; --optimizer is {values['optimizer']}.", "Leave --momentum out.")
    if values.get("label_smoothing") and values.get("loss") not in (None, "cross-entropy"):
        raise RecipeError(f"--label-smoothing is of cross-entropy; --loss is {values['loss']}.", "Leave one out.")


def of_optimizer(kind: str) -> frozenset[str]:
    """Return the fields that only one kind of optimiser has: ``sgd`` or ``adam``."""
    return frozenset(name for name, found in FIELDS.items() if found.optimizer == kind)
