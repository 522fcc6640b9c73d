"""What changed from an earlier report to a later one: a frozen model that every format draws. No torch here."""

import json
from typing import Any, Literal

from pydantic import Field

from ..printable import json_text, printable
from ..report.facts import Model, Number
from ..report.kind import RecordKind
from ..report.results import Status
from ..report.terms import Severity
from ..report.verdict import Decision, DefencePoint

SCHEMA_VERSION = "1.0"

Change = Literal["better", "worse", "same", "unknown"]
"""``same`` is no clear change; ``unknown`` is less that was found where that need not be safer."""

Effect = Literal["none", "verdict", "doubt", "bar"]
"""What follows from a difference between two audits: nothing; their verdicts are of different gates; less that is found
is no improvement; nothing of one can be held against the other."""

Interval = tuple[float, float]


class Side(Model):
    """One of the two audits."""

    model: str
    created: str
    status: Decision
    severity: Severity
    headline: str
    gates: list[str]


class Contrast(Model):
    """Something in which the two audits differ, beside what they found."""

    name: str
    earlier: str
    later: str
    effect: Effect = "none"


class Measure(Model):
    """One number in both audits; the lower, the better."""

    earlier: Number
    later: Number
    of: tuple[int, int] | None = Field(None, description="Of how many each is a count.")
    difference: Number = Field(None, description="Later less earlier; of counts, of their shares.")
    interval: Interval | None = Field(None, description="95 %, of the difference.")
    records: int | None = Field(None, description="Records that the interval rests on, where it is over these.")
    change: Change = "same"


class Ended(Model):
    """How an attack ran: its best result, and the time and memory of all of its results."""

    status: Status
    results: int
    seconds: float
    peak_memory_bytes: int


class AttackChange(Model):
    """One attack that ran in both audits."""

    attack: str
    earlier: Ended
    later: Ended
    recovered: Measure | None = None
    similarity: Measure | None = Field(
        None, description="Mean over the records that were paired with a reconstruction in both."
    )
    best: Measure | None = Field(None, description="Of a single pair, so there is no interval.")
    doubts: list[str] = Field([], description="Why less that it found in the later audit is not safer.")


class FindingChange(Model):
    """What one rule said of each audit, by whatever attack."""

    rule: str
    title: str
    leaks: bool = Field(description="Whether it says that data leak; else it says what evidence is missing.")
    state: Literal["new", "gone", "still"]
    earlier: Severity | None = Field(None, description="The worst; null where the rule said nothing.")
    later: Severity | None = None
    earlier_attacks: list[str] = Field([], description="By which it was said.")
    later_attacks: list[str] = Field([], description="The same of the later audit.")
    change: Change = "same"
    doubts: list[str] = Field([], description="Why it is not safer that less, or nothing, was said of it later.")


class Record(Model):
    """A training record."""

    record: int = Field(description="Index into --data.")
    name: str


class Turnover(Model):
    """Which training records count in one audit and not in the other."""

    appeared: list[Record] = Field(description="In the later audit alone.")
    vanished: list[Record] = Field(description="In the earlier audit alone.")
    stayed: int


class ExposureChange(Model):
    """What the change betrays of each record, in both audits."""

    detected: Measure
    tpr_at_1_fpr: Measure | None = None
    auc: Measure | None = None
    at_least: Measure
    records: Turnover | None = None
    doubts: list[str] = Field([], description="Why less in the later audit is not safer.")


class DefenceChange(Model):
    """One defence that was measured in both audits."""

    earlier: DefencePoint
    later: DefencePoint


class Diff(Model):
    """The whole comparison."""

    schema_version: str = SCHEMA_VERSION
    kind: RecordKind = Field(description="Of the later audit.")
    earlier: Side
    later: Side
    change: Change
    sentence: str
    worse: list[str] = Field([], description="What is clearly worse, in words.")
    better: list[str] = Field([], description="What is clearly better.")
    doubts: list[str] = Field([], description="Why less that was found is not safer.")
    contrasts: list[Contrast] = Field([], description="In what the two audits differ.")
    verdict: Change = "same"
    findings: list[FindingChange] = Field([], description="Those of leaks first.")
    together: Measure | None = Field(None, description="Records recovered by any attack.")
    records: Turnover | None = None
    attacks: list[AttackChange] = Field([], description="Those that ran in both.")
    only_earlier: list[str] = Field([], description="Attacks that ran in the earlier audit alone.")
    only_later: list[str] = Field([], description="Those that ran in the later audit alone.")
    exposure: ExposureChange | None = None
    defences: list[DefenceChange] = Field([], description="Those that both measured.")

    @property
    def comparable(self) -> bool:
        """Whether numbers of one can be held against those of the other."""
        return all(contrast.effect != "bar" for contrast in self.contrasts)

    def to_json(self) -> str:
        """Return it as an indented JSON document ending in a newline."""
        return json_text(self._content()) + "\n"

    def printable(self) -> "Diff":
        """Return it as formats for people show it: no text in it acts on a terminal, a log or a page."""
        return type(self).model_validate(_printable(self._content()))

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.model_dump_json(by_alias=True))
        return content


def _printable(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _printable(item) for name, item in part.items()}
    if isinstance(part, list):
        return [_printable(item) for item in part]
    return printable(part) if isinstance(part, str) else part
