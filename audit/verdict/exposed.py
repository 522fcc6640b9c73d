"""What the exposure of records comes to: how severe it is, and gates on it. No torch here."""

from collections.abc import Sequence

from ..report.exposure import Exposure
from ..report.kind import RecordKind
from ..report.terms import Severity
from ..report.verdict import Decision, Finding, GateResult
from ..scoring.levels import FEWEST
from ..words import percent
from .expression import SEVERITIES, Gate, metrics

MANY = 0.1
"""Share of the records that makes their detection severe."""


def severity(found: Exposure) -> Severity:
    """Return how severe it is that records are detectable."""
    if not found.detected:
        return "low"
    return "high" if found.detected >= MANY * found.measured else "medium"


def by_exposure(gate: Gate, found: Exposure | None, kind: RecordKind, findings: Sequence[Finding]) -> GateResult:
    """Check one gate: it is cleared only where all records were measured, and enough was there to see them."""
    value = None if found is None else _value(gate.metric, found, findings)
    if found is None or value is None:
        return _result(gate, "inconclusive", f"{gate.metric} was not measured{_why(gate, found, kind)}.")
    reached = _reached(gate, value, kind)
    if gate.holds(value):
        return _result(gate, "fail", reached)
    if missing := _missing(gate, found, kind, findings):
        return _result(gate, "inconclusive", missing)
    return _result(gate, "pass", reached)


def _reached(gate: Gate, value: float, kind: RecordKind) -> str:
    if gate.metric == "severity":
        return f"The worst finding is of severity {SEVERITIES[int(value)]}."
    share = gate.metric in ("detected_fraction", "tpr_at_1_fpr")
    return f"{metrics(kind)[gate.metric].capitalize()}: {percent(value, 1) if share else int(value)}."


def _value(metric: str, found: Exposure, findings: Sequence[Finding]) -> float | None:
    if not found.measured:
        return None
    known = {
        "detected": found.detected,
        "detected_fraction": found.detected / found.measured,
        "exposed_at_least": found.at_least,
        "tpr_at_1_fpr": found.own.tpr_at_1_fpr,
        "severity": max((SEVERITIES.index(finding.severity) for finding in findings), default=0),
    }
    return known[metric]


def _why(gate: Gate, found: Exposure | None, kind: RecordKind) -> str:
    many = kind.words.many
    if found is None:
        return f" (it needs {many} of --data and held-out ones, --control, and a change by gradients)"
    if not found.measured:
        return " (time was up; give more --max-time)"
    return f" (it needs 100 held-out {many}; there are {found.held_out})"


def _missing(gate: Gate, found: Exposure, kind: RecordKind, findings: Sequence[Finding]) -> str:
    """Return why a gate that does not hold is not cleared either; empty where it is."""
    words = kind.words
    blocking = [finding.message for finding in findings if finding.blocks and finding.rule in _BLOCKS]
    if blocking:
        return " ".join(blocking)
    if found.swapped:
        return f"Held-out {words.many} score higher than those of --data: the two sets may be swapped, or of two kinds."
    if found.measured < found.records:
        missed = f"{found.records - found.measured} of {words.count(found.records)}"
        return f"{missed} were not measured: give more --max-time."
    if found.held_out < FEWEST:
        return (
            f"{words.count(found.held_out, 'held-out')} are too few for a bound: give {FEWEST} or more with --control."
        )
    single = gate.metric.startswith("detected") or gate.metric == "severity"
    if single and found.at_least and not found.detected:
        return (
            f"At least {found.at_least} of the {words.many} were trained on, and only which ones is not known: give "
            f"more held-out {words.many}."
        )
    if single and not found.resolved:
        return (
            f"{words.count(found.held_out, 'held-out')} are too few to tell single {words.many}: give {found.needed} "
            "or more with --control."
        )
    return ""


_BLOCKS = ("MA103", "MA107", "MA110", "MA111")
"""Rules that say that these records may not be those of the change, or the change none."""


def _result(gate: Gate, status: Decision, reason: str) -> GateResult:
    return GateResult(expression=gate.text, status=status, reason=reason)
