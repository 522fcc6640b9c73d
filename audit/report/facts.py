"""What an audit was given, read and assumed. No torch here."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict, TypeVar


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]


class Model(BaseModel):
    """Base of all parts: frozen, and tolerant of fields that a newer minor version added."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")


Value = bool | int | float | str | list[int] | list[float] | list[str] | None
"""What a fact may be of."""

T = TypeVar("T", bound=Value, covariant=True, default=Value)


class Fact(Model, Generic[T]):
    """A value with its provenance."""

    value: T
    source: Literal["given", "inferred", "assumed"]
    option: str = Field("", description="The command-line option that replaces the value.")
    evidence: str = Field("", description="Why this value, in words.")
    confidence: Number = Field(None, description="Probability in [0, 1] that an inferred value is right, as judged.")
    interval: tuple[Number, Number] | None = Field(None, description="Where the true value is expected to lie.")

    @property
    def number(self) -> float:
        """The value as a number. Raises :class:`TypeError` where it is not one."""
        if not isinstance(self.value, int | float):
            raise TypeError(f"{self.value!r} is not a number")
        return self.value


class Checkpoint(Model):
    """One of the two checkpoint files."""

    path: str
    format: str
    sha256: str
    dtypes: list[str] = []
    key: str = Field("", description="Path of the state dict in the file; empty where it is the file itself.")


class Records(Model):
    """A set of records that was read: the training set to match against, or held-out ones."""

    path: str
    sha256: str
    count: int
    resized: bool = False
    reading: str = Field("", description="How files became records: orientation and fit, where files differ in these.")
    skipped: list[str] = Field([], description="Files that could not be read and were left out (--skip-unreadable).")


class Inputs(Model):
    """What the audit was given."""

    before: Checkpoint
    after: Checkpoint
    data: Records | None = None
    control: Records | None = None


class Architecture(Model):
    """The recognised network."""

    family: str
    name: str
    score: float = Field(description="Share of tensors whose name and shape agree, in [0, 1].")
    classes: int
    shape: tuple[int, ...] = Field(description="Of one input; of an image channels, height, width.")
    parameters: int
    tensors: int
    moved: list[str] = Field(description="Names of the tensors that training changed.")
    assumed: list[str] = Field([], description="What the tensors do not tell and was guessed; --model replaces it.")


def _known(value: Any) -> Any:
    """Return a recipe without the nulls that reports up to 1.3 have for fields that were unknown."""
    return {name: fact for name, fact in value.items() if fact is not None} if isinstance(value, dict) else value


Facts = Annotated[dict[str, Fact], BeforeValidator(_known)]

FLOOR = 3.0
"""A change of less than this many times the rounding of its type cannot be told from rounding."""


class TensorReading(Model):
    """How one tensor moved between the two checkpoints."""

    name: str
    shape: list[int]
    dtype: str = Field(description="As stored; the coarser one where the two files differ.")
    status: Literal["moved", "frozen", "decayed", "rounding"] = Field(
        description="Moved; not moved at all; only scaled, as weight decay alone does; moved, but less than "
        f"{FLOOR:g} times the rounding of its dtype, so that the attacks leave it out of what they compare."
    )
    change: float = Field(description="Norm of the change.")
    relative_change: Number = Field(description="That over the norm before; null where it was zero.")
    snr: Number = Field(None, description="Root mean square of the change over that of the dtype's rounding.")


class ChangeFacts(TypedDict, total=False):
    """What can be read off the change of the parameters; what cannot is absent."""

    signal: Fact[float]
    frozen: Fact[list[str]]
    optimizer: Fact[str]
    travel: Fact[float]
    weight_decay_factor: Fact[float]
    steps: Fact[int]
    backwards: Fact[int]
    unknown_start: Fact[list[str]]
    batch_norm: Fact[str]
    loss: Fact[str]
    size: Fact[int]
    classes_present: Fact[list[int]]
    tokens_seen: Fact[int]
    length: Fact[int]
    sequences_at_least: Fact[int]
    ladders: Fact[list[str]]
    feasibility: Fact[float]
    linearity: Fact[float]


class Delta(Model):
    """What the change of the parameters shows before anything is simulated."""

    tensors: list[TensorReading] = []
    facts: ChangeFacts = Field(ChangeFacts(), description="Readings by name, each with its evidence.")

    @property
    def readings(self) -> Mapping[str, Fact]:
        """The facts as a mapping of one type, for tables."""
        return cast("Mapping[str, Fact]", self.facts)

    @property
    def lost(self) -> bool:
        """Whether every tensor that changed did so by no more than its rounding."""
        return all(row.status != "moved" for row in self.tensors)


class SearchPoint(Model):
    """One candidate of the recipe search (SimuDy, section 3 and Fig. 3)."""

    lr: float
    optimizer: str = "sgd"
    batch_size: int | None = None
    epochs: int | None = None
    rung: int = Field(0, description="Round of the successive halving that this candidate reached, from 0.")
    loss: Number = Field(description="Relative squared error of the simulated parameter change; the lowest wins.")
    cosine: Number = Field(None, description="Cosine distance of the simulated and the real change (the paper's loss).")
    change_ratio: Number = Field(description="Norm of the simulated parameter change over the real one.")
    iterations: int
    status: str
    chosen: bool = False
