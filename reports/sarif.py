"""The findings as SARIF 2.1.0 with errata 01, for code scanning: no picture, no record's name, no path of this machine.

A leak is a result, one for each rule. Missing evidence is no result: it is a notification of the run.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import quote

from ..audit.files import write_text
from ..audit.outputs import Look
from ..audit.printable import json_text
from ..audit.report.facts import Checkpoint
from ..audit.report.model import AuditReport
from ..audit.report.terms import EXIT_CODES, Severity
from ..audit.report.verdict import Finding
from ..audit.verdict.findings import fingerprint
from ..audit.verdict.rules import Rule
from ..audit.verdict.rules import rules as all_rules
from .common.exposure import RULE

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

_LEVELS: dict[Severity, str] = {
    "critical": "error", "high": "error", "medium": "warning", "low": "note", "none": "note",
}  # fmt: skip
_SCORES: dict[Severity, str] = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0"}
"""In the middle of the ranges by which GitHub separates critical (over 9.0), high (7.0), medium (4.0) and low."""

_ORDER: tuple[Severity, ...] = ("critical", "high", "medium", "low", "none")

_TAXONOMY = "NIST AI 100-2"
_CLASSES = {"NISTAML.032": "Data Reconstruction", "NISTAML.033": "Membership Inference"}
"""Their classes that leaks are of: the second one where a rule tells which records were trained on, else the first."""


def write(report: AuditReport, folder: Path, destination: Path, look: Look = Look()) -> Path:  # noqa: B008 - frozen
    """Write one result for each rule by which data leak, and one notification for each piece of missing evidence.

    Raises:
        FormatError: The destination cannot be written.
    """
    return write_text(destination, json_text(log(report)) + "\n")


def log(report: AuditReport) -> dict[str, Any]:
    """Return the whole file; it is the same for the same report and current folder."""
    leaks = [finding for finding in report.findings if finding.leaks]
    notes = [finding for finding in report.findings if not finding.leaks]
    known = all_rules(report.kind)
    rules = _rules(leaks, {id_: rule for id_, rule in known.items() if rule.leak})
    kinds = _rules(notes, {id_: rule for id_, rule in known.items() if not rule.leak})
    files = (report.inputs.before, report.inputs.after)
    run = {
        "tool": {
            "driver": {
                "name": "memaudit",
                "version": report.environment.memaudit,
                "supportedTaxonomies": [{"name": _TAXONOMY, "index": 0}],
                "rules": rules,
                "notifications": kinds,
            }
        },
        "automationDetails": {"id": f"memaudit/{_model(report).replace('/', '-')}/"},
        "invocations": [
            {
                "executionSuccessful": True,
                "exitCode": EXIT_CODES[report.verdict.status],
                "exitCodeDescription": report.verdict.status,
                "toolExecutionNotifications": [_notification(note, _place(kinds, note.rule)) for note in notes],
            }
        ],
        "artifacts": [_artifact(file, role) for file, role in zip(files, ("before", "after"), strict=True)],
        "taxonomies": [_taxonomy()],
        "results": [_result(found, _place(rules, rule), report) for rule, found in _by_rule(leaks).items()],
        "properties": {"verdict": report.verdict.status, "severity": report.verdict.severity},
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def address(path: str) -> str:
    """Return a file relative to the current folder as a URI; of one elsewhere only its name."""
    name = re.split(r"[\\/]", path.rstrip("\\/"))[-1]
    inside = Path(os.path.normpath(Path.cwd() / path))
    if not PureWindowsPath(path).drive and inside != Path.cwd() and inside.is_relative_to(Path.cwd()):
        name = inside.relative_to(Path.cwd()).as_posix()
    return quote(name or "checkpoint", errors="replace")


def _model(report: AuditReport) -> str:
    return report.model or re.split(r"[\\/]", report.inputs.after.path)[-1]


def _rules(findings: Sequence[Finding], known: Mapping[str, Rule]) -> list[dict[str, Any]]:
    """Return every rule, and those that only a newer version knows, as far as the report describes them."""
    worst = {rule.id: rule.severities[0] for rule in known.values()}
    for finding in sorted(findings, key=lambda finding: -_ORDER.index(finding.severity)):
        worst[finding.rule] = finding.severity
    names = {finding.rule: finding.name for finding in findings}
    return [
        _rule(known[id_], severity) if id_ in known else {"id": id_, "name": names[id_]}
        for id_, severity in worst.items()
    ]


def _rule(rule: Rule, severity: Severity) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": rule.when},
        "help": {"text": f"{rule.when}\n\n{rule.help}", "markdown": f"{rule.when}\n\n**What to do.** {rule.help}"},
        "defaultConfiguration": {"level": _LEVELS[severity]},
        "properties": {"tags": ["privacy", "machine-learning"]},
    }
    if rule.leak:
        found["properties"] = {
            "tags": ["security", "privacy", "machine-learning"],
            "security-severity": _SCORES.get(severity, "0.0"),
            "precision": "high",
        }
        found["relationships"] = [{"target": _member(rule.id), "kinds": ["superset"]}]
    return found


def _artifact(file: Checkpoint, role: str) -> dict[str, Any]:
    return {
        "location": {"uri": address(file.path)},
        "description": {"text": f"The checkpoint {role} the training that is audited."},
        "roles": ["analysisTarget"],
        "hashes": {"sha-256": file.sha256},
    }


def _taxonomy() -> dict[str, Any]:
    return {
        "name": _TAXONOMY,
        "version": "e2025",
        "organization": "NIST",
        "shortDescription": {"text": "Adversarial Machine Learning: A Taxonomy and Terminology."},
        "informationUri": "https://doi.org/10.6028/NIST.AI.100-2e2025",
        "taxa": [{"id": id_, "name": name} for id_, name in _CLASSES.items()],
    }


def _member(rule: str) -> dict[str, Any]:
    place = int(rule == RULE)
    return {"id": list(_CLASSES)[place], "index": place, "toolComponent": {"name": _TAXONOMY, "index": 0}}


def _place(rules: Sequence[Mapping[str, Any]], id_: str) -> int:
    return next(place for place, rule in enumerate(rules) if rule["id"] == id_)


def _by_rule(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.rule, []).append(finding)
    return found


def _notification(finding: Finding, place: int) -> dict[str, Any]:
    return {
        "descriptor": {"id": finding.rule, "index": place},
        "level": "warning" if finding.blocks else "note",
        "message": {"text": _plain(_said(finding))},
        "properties": {"blocks": finding.blocks},
    }


def _result(findings: Sequence[Finding], place: int, report: AuditReport) -> dict[str, Any]:
    """Return what one rule says, the worst first, of all attacks together."""
    ordered = sorted(findings, key=lambda finding: _ORDER.index(finding.severity))
    rule, severity = ordered[0].rule, ordered[0].severity
    return {
        "ruleId": rule,
        "ruleIndex": place,
        "kind": "fail",
        "level": _LEVELS[severity],
        "message": {"text": _plain(" ".join(map(_said, ordered)))},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": address(report.inputs.after.path), "index": 1},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [
                    {"fullyQualifiedName": where, "kind": "audit" if where == "audit" else "attack"}
                    for where in dict.fromkeys(map(_where, ordered))
                ],
            }
        ],
        "partialFingerprints": {"memaudit/v2": fingerprint(rule, _model(report))},
        "taxa": [_member(rule)],
        "properties": {
            "severity": severity,
            "records": len({record for finding in ordered for record in finding.records}),
            "blocks": any(finding.blocks for finding in ordered),
        },
    }


def _where(finding: Finding) -> str:
    return finding.attack or "audit"


def _said(finding: Finding) -> str:
    return f"{_where(finding)}: {finding.message}"


def _plain(text: str) -> str:
    """Return text in which no reader of SARIF sees a link or a placeholder (SARIF 2.1.0, 3.11.5 and 3.11.6)."""
    return re.sub(r"([\\\[\]])", r"\\\1", text).replace("{", "{{").replace("}", "}}")
