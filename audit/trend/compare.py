"""Two reports become one comparison: a pure function. No torch here."""

from pathlib import Path

from ..report.file import load
from ..report.model import AuditReport
from ..report.terms import Severity
from ..report.verdict import Decision
from ..verdict.sentence import headline
from .attacks import attack_changes, by_attack, doubts, recovered, together
from .conditions import contrasts
from .exposed import defence_changes, exposure_change, exposure_doubts
from .found import finding_changes, place
from .ground import Ground, ground
from .model import Change, Contrast, Diff, Side
from .sentence import judged


def diff(earlier: AuditReport | str | Path, later: AuditReport | str | Path) -> Diff:
    """Return what got better or worse from an earlier audit to a later one.

    Args:
        earlier: A report, a report file, or the run folder of a finished scan.
        later: The same.

    Returns:
        The comparison. Names of training records are numbers where one of the reports shows no evidence.

    Raises:
        ReportError: A file is not a report that this version can read.
    """
    one, two = (found if isinstance(found, AuditReport) else load(found) for found in (earlier, later))
    if "none" in (one.evidence, two.evidence):
        one, two = one.nameless(), two.nameless()
    differ = contrasts(one, two)
    base = ground(two, differ)
    shared, records = together(one, two, base)
    before, after = by_attack(one), by_attack(two)
    found = Diff(
        kind=two.kind, earlier=_side(one), later=_side(two), change="same", sentence="", doubts=list(base.doubts),
        contrasts=differ, verdict=_verdict(one, two, differ, base),
        findings=finding_changes(one, two, base, exposure_doubts(one, two)), together=shared, records=records,
        attacks=attack_changes(one, two, base), only_earlier=[name for name in before if name not in after],
        only_later=[name for name in after if name not in before], exposure=exposure_change(one, two, base),
        defences=defence_changes(one, two),
    )  # fmt: skip
    return judged(found, same_pair=not _pair_differs(one, two))


def decide(found: Diff, fail_on: Severity = "low") -> Decision:
    """Return ``fail`` where something is clearly worse, ``inconclusive`` where that cannot be told, else ``pass``.

    Args:
        found: The comparison.
        fail_on: Severity from which a finding that is new or more severe fails; whatever else is worse always does.
    """
    if not found.comparable:
        return "inconclusive"
    worse = [change for change in found.findings if change.change == "worse"]
    mild = sum(place(change.later) < place(fail_on) for change in worse)
    if len(found.worse) > mild:
        return "fail"
    unclear = found.change == "unknown" and found.later.status != "pass"
    blind = found.change == "worse" and found.later.status == "inconclusive"
    return "inconclusive" if unclear or blind else "pass"


def _side(report: AuditReport) -> Side:
    verdict = report.verdict
    return Side(
        model=report.model, created=report.created, status=verdict.status, severity=verdict.severity,
        headline=verdict.headline or headline(report), gates=[gate.expression for gate in verdict.gates],
    )  # fmt: skip


def _verdict(earlier: AuditReport, later: AuditReport, differ: list[Contrast], base: Ground) -> Change:
    """Return what it means that the verdict is another one; nothing where the gates are others."""
    was, now = earlier.verdict.status, later.verdict.status
    if was == now or any(contrast.effect == "verdict" for contrast in differ):
        return "same" if base.comparable else "unknown"
    if now == "fail":
        return base.change(1)
    leaking = [name for name, results in by_attack(earlier).items() if recovered(results)]
    missing = [doubt for name in leaking for doubt in doubts(earlier, later, name)]
    if earlier.exposure is not None and later.exposure is None:
        missing += exposure_doubts(earlier, later)
    return base.change(-1, missing) if was == "fail" else "unknown"


def _pair_differs(earlier: AuditReport, later: AuditReport) -> bool:
    pairs = [(report.inputs.before.sha256, report.inputs.after.sha256) for report in (earlier, later)]
    return pairs[0] != pairs[1]
