"""The audit report: one versioned, frozen model that every format renders and every gate judges. No torch here.

Pictures are files beside the report, named by paths relative to the run folder; the JSON holds no pixel.
Non-finite numbers are stored as null.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from ... import MemauditError
from ..printable import json_text, printable
from .card import AttackCard
from .exhibit import Picture, withheld
from .exposure import Exposure
from .facts import Architecture, Delta, Fact, Facts, Inputs, Model, SearchPoint
from .kind import RecordKind
from .notebook import Reconstructed, line, rows, table
from .proof import DataCheck, MockVictim
from .results import AttackResult, BestMatch, Dummy, LeaderboardRow, Match, PlanStep, titles
from .terms import Evidence
from .verdict import Advice, DefencePoint, Finding, Verdict
from .vocabulary import Vocabulary

SCHEMA_VERSION = "2.2"

_RECORDS = ("truth", "reconstruction", "exhibit")
"""Fields that hold records."""

SCHEMA_ID = "urn:memaudit:schema:report:2.2"


ALTERED = "This report was changed after memaudit wrote it: memaudit verify says what differs."
"""Stands first among the limitations of such a report, in every format."""


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
    evidence: Evidence = Field("full", description="Records that its outputs may show.")
    kind: RecordKind = Field(description="What the records are, and how they are compared.")
    model: str = Field("", description="What the audited model is called: --name, or the name of its file.")
    command: str
    seed: int
    verdict: Verdict
    inputs: Inputs
    architecture: Architecture
    recipe: Facts = Field(description="How the model was trained: fields by name; unknown ones are absent.")
    delta: Delta = Delta()
    vocabulary: Vocabulary | None = Field(None, description="Words that training saw; null where that does not show.")
    search: list[SearchPoint] = []
    plan: list[PlanStep] = Field([], description="What was run and what was left out, with reasons.")
    cards: dict[str, AttackCard] = Field(
        {}, description="What each installed attack says about itself, by its name; whether it ran is in the plan."
    )
    attacks: list[AttackResult]
    ranking: str = Field("", description="The rule by which the leaderboard is ordered.")
    leaderboard: list[LeaderboardRow] = []
    per_record: list[BestMatch] = Field([], description="The best reconstruction of each training record.")
    recovered_by_any: int | None = Field(None, description="Training records that at least one result recovered.")
    findings: list[Finding] = Field([], description="Most severe first.")
    advice: list[Advice] = Field([], description="What would lower the leak.")
    check: DataCheck | None = Field(None, description="Whether the data explain the change.")
    power: MockVictim | None = Field(None, description="What the attacks can show, measured on a training like this.")
    exposure: Exposure | None = Field(
        None, description="What the change betrays of each record; null where that was not measured."
    )
    defences: list[DefencePoint] = Field([], description="What memaudit defend measured.")
    limitations: list[str] = []
    environment: Environment

    _folder: Path | None = PrivateAttr(None)
    _altered: bool = PrivateAttr(False)

    def __repr__(self) -> str:
        return line(self.model, self.verdict, self.leaderboard_rows(), self.kind, len(self.findings))

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        """Reports are equal where their content is, wherever they lie."""
        return self.__dict__ == other.__dict__ if isinstance(other, AuditReport) else NotImplemented

    def _repr_html_(self) -> str:
        return table(self.model, self.verdict, self.leaderboard_rows(), self.kind)

    @property
    def folder(self) -> Path | None:
        """The run folder, where its pictures lie; known of a report that was scanned or loaded. Not in the JSON."""
        return self._folder

    def at(self, folder: Path) -> "AuditReport":
        """Return the report with its run folder."""
        found = self.model_copy()
        found._folder = folder.absolute()
        return found

    def leaderboard_rows(self) -> list[dict[str, Any]]:
        """Return the leaderboard as plain rows, ready for a data frame; scores by the names that gates use."""
        return rows(self.leaderboard, titles(self.attacks), self.kind)

    def reconstructions(self, attack: str | None = None) -> list[Reconstructed]:
        """Return what the best result found; with ``attack``, the best result of that attack.

        Each of them gives its picture as :meth:`~.notebook.Reconstructed.picture` and
        :meth:`~.notebook.Reconstructed.array`.
        """
        places = {row.key: row.rank for row in self.leaderboard}
        found = [a for a in self.attacks if a.reconstructions and attack in (None, a.name)]
        if not found:
            return []
        best = min(found, key=lambda result: places.get(result.key, len(places) + 1))
        matches = {match.dummy: match for match in best.matches}
        return [Reconstructed(dummy, matches.get(dummy.dummy), self.folder) for dummy in best.reconstructions]

    def assumptions(self) -> dict[str, Fact]:
        """Return the recipe's fields that were neither given nor inferred, by name."""
        return {name: fact for name, fact in self.recipe.items() if fact.source == "assumed"}

    def pictures(self) -> set[str]:
        """Return the paths of all pictures, relative to the run folder."""
        shown = [e for a in self.attacks for match in a.matches for e in (match.truth, match.reconstruction)]
        shown += [dummy.exhibit for attack in self.attacks for dummy in attack.reconstructions]
        shown += [row.exhibit for row in (self.exposure.per_record if self.exposure else ()) if row.exhibit]
        return {exhibit.path for exhibit in shown if isinstance(exhibit, Picture)}

    def altered(self) -> "AuditReport":
        """Return the report as one that was changed after it was written: it says so, and is never sealed again."""
        found = self.model_copy(update={"limitations": [ALTERED, *(x for x in self.limitations if x != ALTERED)]})
        found._altered = True
        return found

    def sealed(self) -> "AuditReport":
        """Return the report with the digest of its content; one that was altered keeps a digest that is not its own."""
        if self._altered:
            return self.model_copy(update={"content_sha256": self.content_sha256 or "altered"})
        return self.model_copy(update={"content_sha256": content_digest(self._content())})

    def nameless(self) -> "AuditReport":
        """Return the report with numbers in place of the names of training records, and without texts of them."""

        def number(match: Match) -> Match:
            shown = {"truth": withheld(match.truth), "reconstruction": withheld(match.reconstruction)}
            return match.model_copy(update={"name": f"{self.kind.words.one} {match.sample}", **shown})

        def bare(dummy: Dummy) -> Dummy:
            return dummy.model_copy(update={"exhibit": withheld(dummy.exhibit)})

        attacks = [
            a.model_copy(
                update={"matches": list(map(number, a.matches)), "reconstructions": list(map(bare, a.reconstructions))}
            )
            for a in self.attacks
        ]
        best = [item.model_copy(update={"match": number(item.match)}) for item in self.per_record]
        words = self.vocabulary.nameless() if self.vocabulary else None
        exposed = self.exposure.nameless(self.kind.words.one) if self.exposure else None
        parts = {"attacks": attacks, "per_record": best, "vocabulary": words, "exposure": exposed}
        return self.model_copy(update=parts).sealed()

    def printable(self) -> "AuditReport":
        """Return the report as formats for people show it: no text in it acts on a terminal, a log or a page."""
        found = type(self).model_validate(_printable(self._content()))
        found._folder, found._altered = self._folder, self._altered
        return found

    def to_json(self) -> str:
        """Return the sealed report as an indented JSON document ending in a newline."""
        return json_text(self.sealed()._content()) + "\n"

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.model_dump_json(by_alias=True))
        return content


def _printable(part: Any, lines: bool = False) -> Any:
    """Return a part of a report with printable texts; of records alone, which may be texts, the lines are kept."""
    if isinstance(part, str):
        return "\n".join(map(printable, part.split("\n"))) if lines else printable(part)
    if isinstance(part, list):
        return [_printable(item, lines) for item in part]
    if isinstance(part, dict):
        return {printable(name): _printable(item, lines or name in _RECORDS) for name, item in part.items()}
    return part


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a report's JSON without ``content_sha256``: keys sorted, no spaces, UTF-8.

    It is of the content as it stands in the file, so that a reader of an older minor version checks newer ones too.
    """
    rest = {name: value for name, value in content.items() if name != "content_sha256"}
    plain = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
