"""The audit report: one versioned, frozen model that every format renders and every gate judges. No torch here.

Pictures are files beside the report, named by paths relative to the run folder; the JSON holds no pixel.
Non-finite numbers are stored as null.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ... import MemauditError
from .card import AttackCard
from .facts import Architecture, Delta, Fact, Facts, Inputs, Model, SearchPoint
from .results import AttackResult, BestMatch, LeaderboardRow, Match, PlanStep
from .terms import Evidence
from .verdict import Advice, DefencePoint, Finding, Verdict

SCHEMA_VERSION = "1.3"

SCHEMA_ID = "urn:memaudit:schema:report:1.3"


class ReportError(MemauditError):
    """The file is not a report that this version can read."""


class Environment(Model):
    """Versions and hardware."""

    memaudit: str
    python: str
    torch: str
    platform: str
    device: str
    threads: int


class AuditReport(Model):
    """The whole report."""

    schema_id: str = Field(SCHEMA_ID, alias="$schema")
    schema_version: str = SCHEMA_VERSION
    content_sha256: str = Field(
        "", description="SHA-256 of the report without this field, as canonical JSON; memaudit verify checks it."
    )
    created: str = Field(description="ISO 8601, UTC.")
    evidence: Evidence = Field("full", description="Pictures that its outputs may show.")
    model: str = Field("", description="What the audited model is called: --name, or the name of its file.")
    command: str
    seed: int
    verdict: Verdict
    inputs: Inputs
    architecture: Architecture
    recipe: Facts = Field(description="How the model was trained: fields by name; those that nobody knows are absent.")
    delta: Delta = Delta()
    search: list[SearchPoint] = []
    plan: list[PlanStep] = Field([], description="What was run and what was left out, with reasons.")
    cards: dict[str, AttackCard] = Field(
        {}, description="What each installed attack tells of itself, by its name; whether it ran is in the plan."
    )
    attacks: list[AttackResult]
    ranking: str = Field("", description="The rule by which the leaderboard is ordered.")
    leaderboard: list[LeaderboardRow] = []
    per_image: list[BestMatch] = Field([], description="The best reconstruction of each training image.")
    recovered_by_any: int | None = Field(None, description="Training images that at least one result recovered.")
    findings: list[Finding] = Field([], description="Most severe first.")
    advice: list[Advice] = Field([], description="What would lower the leak.")
    defences: list[DefencePoint] = Field([], description="What memaudit defend measured.")
    limitations: list[str] = []
    environment: Environment

    def assumptions(self) -> dict[str, Fact]:
        """Return the recipe's fields that were neither given nor inferred, by name."""
        return {name: fact for name, fact in self.recipe.items() if fact.source == "assumed"}

    def pictures(self) -> set[str]:
        """Return the paths of all pictures, relative to the run folder."""
        matched = {path for a in self.attacks for m in a.matches for path in (m.original, m.reconstruction)}
        return matched | {dummy.picture for attack in self.attacks for dummy in attack.reconstructions}

    def sealed(self) -> "AuditReport":
        """Return the report with the digest of its content."""
        return self.model_copy(update={"content_sha256": content_digest(self._content())})

    def nameless(self) -> "AuditReport":
        """Return the report with numbers in the place of the names of training images."""

        def number(match: Match) -> Match:
            return match.model_copy(update={"name": f"image {match.sample}"})

        attacks = [a.model_copy(update={"matches": [number(match) for match in a.matches]}) for a in self.attacks]
        best = [item.model_copy(update={"match": number(item.match)}) for item in self.per_image]
        return self.model_copy(update={"attacks": attacks, "per_image": best}).sealed()

    def to_json(self) -> str:
        """Return the sealed report as an indented JSON document ending in a newline."""
        return json.dumps(self.sealed()._content(), indent=2, ensure_ascii=False) + "\n"

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.model_dump_json(by_alias=True))
        return content


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a report's JSON without ``content_sha256``: keys sorted, no spaces, UTF-8.

    It is of the content as it stands in the file, so that a reader of an older minor version checks newer ones too.
    """
    rest = {name: value for name, value in content.items() if name != "content_sha256"}
    plain = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
