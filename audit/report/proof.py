"""What a PASS rests on beside the attacks: the data explain the change, and the attacks had power. No torch here."""

from typing import Literal

from pydantic import Field

from .facts import Model, Number

Basis = Literal["tokens", "layers", "gradients", "training"]
"""What the data are compared by: tokens that training saw, layers' spans, own gradients, or a training on them."""


class Comparison(Model):
    """Other records than the data, as they were given, and how much of the change they leave unexplained."""

    name: str = Field(description="What they are: held-out records, or the data altered.")
    unexplained: float = Field(
        description="Share of the change that they leave, in [0, 1]: of held-out sets the mean, else the lowest."
    )
    sets: int = Field(1, description="How many sets of them were compared.")


class DataCheck(Model):
    """Whether the records of --data, prepared this way, explain the change of the parameters."""

    explained: bool | None = Field(description="Null where it cannot be told.")
    unexplained: Number = Field(None, description="Share of the change that the data leave, in [0, 1].")
    basis: Basis | None = None
    reading: str = Field("", description="How the files were prepared where another way than asked explains more.")
    comparisons: list[Comparison] = []
    recipe: bool | None = Field(
        None, description="Whether training on the data by the recipe gives the change; null where it was not tried."
    )
    likeness: Number = Field(None, description="Cosine of that training's change and the real one, in [-1, 1].")
    reason: str = Field(description="One sentence.")


class MockVictim(Model):
    """The same attacks on a training like this one, on held-out records: what these attacks can show at all."""

    status: Literal["leaks", "silent", "left out"] = Field(
        description="The gates trip on it; they do not; it was not trained."
    )
    records: int = 0
    recovered: int = Field(0, description="Of its records, by any attack.")
    similarity_mean: Number = Field(None, description="Of its best attack.")
    attacks: list[str] = Field([], description="Those that recovered some of them.")
    seconds: float = 0.0
    reason: str = Field(description="One sentence.")
