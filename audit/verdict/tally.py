"""How many records were rebuilt, all attacks together. No torch here."""

from ..report.model import AuditReport
from ..report.results import AttackResult

UNLISTED = "MA005"
"""The rule of an exact attack whose records are not those of --data."""


def rebuilt(report: AuditReport) -> tuple[int, int]:
    """Return how many training records all attacks together recovered, and of how many."""
    measured = [attack.metrics for attack in report.attacks if attack.metrics]
    most = max((metrics.recovered for metrics in measured), default=0)
    total = report.inputs.data.count if report.inputs.data else max((m.records for m in measured), default=0)
    return max(report.recovered_by_any or 0, most), total


def unlisted(report: AuditReport) -> int:
    """Return how many records an exact attack rebuilt that are not known to be training records."""
    names = {finding.attack for finding in report.findings if finding.rule == UNLISTED}
    return max((_unknown(attack) for attack in report.attacks if attack.name in names), default=0)


def _unknown(attack: AttackResult) -> int:
    known = {match.dummy for match in attack.matches if match.recovered}
    return sum(not dummy.insignificant and dummy.dummy not in known for dummy in attack.reconstructions)


def exposure_only(report: AuditReport) -> bool:
    """Return whether the exposure of records was measured and no attack run."""
    return report.exposure is not None and not report.attacks


def none_rebuilt(report: AuditReport) -> str:
    """Say that none was; a sentence without a full stop."""
    words, total = report.kind.words, rebuilt(report)[1]
    if total > 1:
        return f"None of {words.count(total, 'training')} was rebuilt"
    return f"The training {words.one} was not rebuilt"
