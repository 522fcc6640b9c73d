"""What the rules said of each of two audits: new, gone, still there, worse or less severe. No torch here."""

from collections.abc import Sequence

from ..report.model import AuditReport
from ..report.terms import Severity
from ..report.verdict import Finding
from ..verdict.expression import SEVERITIES
from ..verdict.rules import rules
from .attacks import doubts
from .ground import Ground
from .model import Change, FindingChange

EXPOSED = "MA008"
"""The rule of records that the change betrays."""

STRONGER = {"MA002": "MA001", "MA003": "MA001", "MA004": "MA001"}
"""Rules that tell nothing new beside another, which says more: in its place, they are no other leak."""


def finding_changes(
    earlier: AuditReport, later: AuditReport, ground: Ground, exposure: Sequence[str]
) -> list[FindingChange]:
    """Compare the findings of two audits rule by rule, those that say that data leak first.

    Which attack found it may change from audit to audit, so that a rule counts by its worst finding.

    Args:
        earlier: The first audit.
        later: The second.
        ground: What they stand on.
        exposure: Why less exposure that was found is not safer.
    """
    known, found = rules(later.kind), []
    for rule in sorted({finding.rule for report in (earlier, later) for finding in report.findings}):
        before, after = _of(earlier, rule), _of(later, rule)
        names = [finding.attack for finding in before if finding.leaks and finding.attack]
        missing = [doubt for name in dict.fromkeys(names) for doubt in doubts(earlier, later, name)]
        missing += exposure if rule == EXPOSED else []
        title = known[rule].title if rule in known else (after or before)[0].name
        more = [place(_worst(_of(report, STRONGER.get(rule, "")))) for report in (earlier, later)]
        found.append(_change(rule, title, before, after, ground, missing, more[0], more[1]))
    return sorted(found, key=lambda change: (not change.leaks, change.rule))


def place(severity: Severity | None) -> int:
    """Return the place of a severity, the least first; where a rule said nothing, that of none."""
    return SEVERITIES.index(severity or "none")


def _change(
    rule: str, title: str, before: list[Finding], after: list[Finding], ground: Ground, missing: Sequence[str],
    more_before: int, more_after: int,
) -> FindingChange:  # fmt: skip
    was, now = _worst(before), _worst(after)
    sign = _sign(place(now) - place(was))
    if sign != _sign(max(place(now), more_after) - max(place(was), more_before)):
        sign = 0
    leaks = any(finding.leaks for finding in (*before, *after))
    meant: Change = ground.change(sign, missing) if leaks else "same"
    return FindingChange(
        rule=rule, title=title, leaks=leaks, state="still" if before and after else "new" if after else "gone",
        earlier=was, later=now, earlier_attacks=_attacks(before), later_attacks=_attacks(after), change=meant,
        doubts=list(missing) if leaks else [],
    )  # fmt: skip


def _sign(rise: int) -> int:
    return (rise > 0) - (rise < 0)


def _of(report: AuditReport, rule: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == rule]


def _worst(findings: Sequence[Finding]) -> Severity | None:
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default=None)


def _attacks(findings: Sequence[Finding]) -> list[str]:
    return list(dict.fromkeys(finding.attack for finding in findings if finding.attack))
