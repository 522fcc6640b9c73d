"""What the evidence shows: findings, gates, advice. No torch here."""

from typing import Literal

from pydantic import Field

from .facts import Model, Number
from .terms import Severity

Decision = Literal["pass", "fail", "inconclusive"]


class GateResult(Model):
    """One gate expression and what it found."""

    expression: str
    status: Decision
    reason: str


class Finding(Model):
    """What one rule says of one attack, or of the audit as a whole."""

    rule: str = Field(description="Stable id, such as MA001; memaudit rules prints them all.")
    name: str = Field(description="The rule's name.")
    severity: Severity
    attack: str = Field("", description="Empty where it is of the audit as a whole.")
    message: str
    records: list[int] = Field([], description="The training records that it is about.")
    blocks: bool = Field(False, description="A reason why this audit cannot pass: evidence is missing.")
    fingerprint: str = Field("", description="Of rule, attack and model; the same for every audit of this model.")

    @property
    def leaks(self) -> bool:
        """Whether it says that data leak, also of rules of newer versions; else it says what evidence is missing."""
        return self.severity != "none"


class Advice(Model):
    """Something that would lower the leak."""

    id: str
    title: str
    effect: str = Field(description="What to expect of it for this model, and what it costs.")
    command: str = Field("", description="The command that measures it; empty where a new training is needed first.")


class DefencePoint(Model):
    """The leak that was measured after a change to the published model (memaudit defend)."""

    kind: Literal["none", "noise", "bits"]
    value: Number = Field(
        None, description="Noise: standard deviation over the root mean square of the change. Bits: their number."
    )
    distortion: float = Field(description="Norm of what was altered over the norm of the change of the parameters.")
    records: int
    similarity_mean: Number = None
    similarity_max: Number = None
    recovered: int | None = None
    exposed_auc: Number = Field(None, description="How well records are told from held-out ones by the exposure.")
    exposed_at_least: int | None = Field(None, description="Records that were trained on, at least, as it shows.")
    verdict: Decision
    accuracy: Number = Field(None, description="Share of the test set that is classified correctly, in [0, 1].")


class NextStep(Model):
    """What to do about an inconclusive audit."""

    reason: str = Field(description="One sentence: why this one.")
    command: str = Field("", description="To copy; empty where no command helps.")
    estimate: str = Field("", description="How long it takes, in words.")


class Verdict(Model):
    """The decision, one sentence for people, and the gates behind it."""

    status: Decision
    severity: Severity = "none"
    headline: str = Field("", description="What was found, for people: records first, no name of an attack or gate.")
    summary: str
    next_step: NextStep | None = None
    gates: list[GateResult] = []
