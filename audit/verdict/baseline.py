"""Known findings: accepted with a reason and a date of expiry, in a file that people review. No torch here.

A finding is recognised by rule, attack and model, and each of its records by a salted digest of its name: never by a
score, a pixel or a message, which change from run to run. A record that is not in the baseline makes a finding new.
The salt keeps digests of different baselines apart; it stands in the file, so guessable names can be guessed.
"""

import datetime
import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ... import MemauditError
from ..files import read_toml
from ..report.model import AuditReport
from ..report.proof import MockVictim
from ..report.terms import Severity
from ..report.verdict import Decision, Finding
from .expression import SEVERITIES as ORDER
from .expression import parse
from .gate import judge

VERSION = 1
DAYS = 90
"""After this many days an accepted finding is reviewed again, unless another date is given."""

HEADER = "# Findings of memaudit that were accepted; checked by: memaudit baseline check REPORT --baseline FILE\n\n"


class BaselineError(MemauditError):
    """A baseline that cannot be read or written."""


class Accepted(BaseModel):
    """One finding that somebody accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: str
    rule: str
    attack: str = ""
    severity: Severity
    reason: str = Field(min_length=1)
    expires: datetime.date
    records: list[str] = Field([], description="Salted digests of the names of the training records.")


class Baseline(BaseModel):
    """All of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(VERSION, ge=1, le=VERSION)
    model: str
    salt: str
    accepted: list[Accepted] = []


@dataclass(frozen=True)
class Comparison:
    """A report compared with a baseline; each finding of a leak is in one of the first three."""

    known: list[Finding]
    expired: list[Finding]
    new: list[Finding]
    gone: list[Accepted]


def accept(report: AuditReport, reason: str, expires: datetime.date, salt: str | None = None) -> Baseline:
    """Return a baseline of every leak that a report shows.

    Args:
        report: A finished audit.
        reason: Why they are accepted, in words.
        expires: The last day on which they are.
        salt: Keeps digests of different baselines apart; a fresh one by default.

    Raises:
        BaselineError: No reason is given.
    """
    if not reason.strip():
        raise BaselineError("Accepting a finding needs a reason.", "Give it with --reason.")
    salt = salt or secrets.token_hex(16)
    return Baseline(
        model=report.model,
        salt=salt,
        accepted=[
            Accepted(
                fingerprint=finding.fingerprint,
                rule=finding.rule,
                attack=finding.attack,
                severity=finding.severity,
                reason=reason,
                expires=expires,
                records=sorted(_records(report, finding, salt)),
            )
            for finding in leaks(report)
        ],
    )


def compare(report: AuditReport, baseline: Baseline, today: datetime.date) -> Comparison:
    """Compare the leaks that a report shows with what was accepted.

    A finding is known where its fingerprint is accepted, no record was added and its severity did not rise.
    """
    accepted = {item.fingerprint: item for item in baseline.accepted}
    known: list[Finding] = []
    expired: list[Finding] = []
    new: list[Finding] = []
    for finding in leaks(report):
        item = accepted.get(finding.fingerprint)
        if item is None or not _covers(item, report, finding, baseline.salt):
            new.append(finding)
        elif item.expires < today:
            expired.append(finding)
        else:
            known.append(finding)
    shown = {finding.fingerprint for finding in leaks(report)}
    return Comparison(known, expired, new, [item for item in baseline.accepted if item.fingerprint not in shown])


def decide(report: AuditReport, compared: Comparison, fail_on: Severity) -> Decision:
    """Return ``fail`` for a leak of that severity or worse which is not accepted; else what the report lets one say.

    Args:
        report: What was compared.
        compared: The result.
        fail_on: Severity from which a finding that is new or expired fails.
    """
    left = [finding for finding in report.findings if finding not in compared.known]
    names = list(dict.fromkeys(finding.attack for finding in leaks(report) if finding.attack))
    shown = MockVictim(status="leaks", attacks=names, reason="") if names else report.power
    return judge(report.attacks, [parse(f"severity>={fail_on}")], report.kind, report.plan, left, shown).status


def leaks(report: AuditReport) -> list[Finding]:
    """Return the findings that say that data leak."""
    return [finding for finding in report.findings if finding.leaks]


def load(path: Path) -> Baseline:
    """Read a baseline. Raises :class:`BaselineError`."""
    content = read_toml(path, "The baseline", BaselineError, "Write one with memaudit baseline write.")
    try:
        return Baseline.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        hint = "Correct it, or write it again."
        raise BaselineError(f"{path} is not a baseline ({where}: {first['msg']}).", hint) from None


def dump(baseline: Baseline) -> str:
    """Return a baseline as TOML, with dates as dates."""
    plain = tomli_w.dumps(baseline.model_dump(), multiline_strings=False)
    return HEADER + plain.encode("utf-8", "replace").decode("utf-8")


def expiry(text: str | None, today: datetime.date) -> datetime.date:
    """Return the date that ``--expires`` names, :data:`DAYS` from today by default. Raises :class:`BaselineError`."""
    if text is None:
        return today + datetime.timedelta(days=DAYS)
    try:
        found = datetime.date.fromisoformat(text)
    except ValueError:
        raise BaselineError(f"--expires {text[:40]} is not a date.", "Write it as YYYY-MM-DD.") from None
    if found < today:
        raise BaselineError(f"--expires {text} is in the past.", "Give a later date.")
    return found


def _covers(item: Accepted, report: AuditReport, finding: Finding, salt: str) -> bool:
    worse = ORDER.index(finding.severity) > ORDER.index(item.severity)
    return not worse and _records(report, finding, salt) <= set(item.records)


def _records(report: AuditReport, finding: Finding, salt: str) -> set[str]:
    """Return salted digests of the names of a finding's training records; those of another data set are others."""
    names = {match.sample: match.name for attack in report.attacks for match in attack.matches}
    data = report.inputs.data.sha256 if report.inputs.data else ""
    told = (f"{salt}\x1f{data}\x1f{names.get(i, i)}".encode("utf-8", "replace") for i in finding.records)
    return {hashlib.sha256(text).hexdigest()[:16] for text in told}
