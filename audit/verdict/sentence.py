"""The verdict as people read it: one sentence that leads with records, and the next step where there is no decision.

No sentence names an attack or a gate: these stand below it. No torch here.
"""

from ..report.exposure import Exposure
from ..report.model import AuditReport
from ..report.verdict import NextStep, Verdict
from ..words import count
from .causes import main_cause
from .tally import exposure_only, none_rebuilt, rebuilt, unlisted

_TRACES = {
    "MA002": "No single {one} was rebuilt, but the training {many} as a whole show through",
    "MA003": "No {one} was rebuilt, but these two files tell which {many} were trained on",
    "MA004": "Independent runs rebuild the same {many}, which suggests that they are training {many}",
    "MA007": "No {one} was rebuilt, but the network from before training looks made to store {many}",
    "MA008": "No {one} was rebuilt, but these two files tell which {many} were trained on",
    "MA006": "No {one} was rebuilt, but these two files tell which words training saw",
}
"""What is said of leaks that rebuild no known record, by rule."""


def phrased(report: AuditReport) -> Verdict:
    """Return the verdict with its sentence for people and its next step."""
    return report.verdict.model_copy(update={"headline": headline(report), "next_step": next_step(report)})


def headline(report: AuditReport) -> str:
    """Return one sentence without a full stop; it never contradicts the number of recovered records."""
    recovered, total = rebuilt(report)
    if report.exposure is not None and exposure_only(report):
        return _told(report, report.exposure)
    match report.verdict.status:
        case "fail":
            return _leak(report)
        case "pass" if recovered:
            return f"{_rebuilt(report, recovered, total)}; the limits that were set allow that"
        case "pass":
            return _clear(report)
    if unlisted(report):
        return _leak(report)
    if recovered:
        return f"{_leak(report)}; whether that exceeds the limits is not known"
    return _leak(report) if _trace(report) else main_cause(report).said


def next_step(report: AuditReport) -> NextStep | None:
    """Return what to do about an undecided audit; ``None`` where it is decided."""
    if report.verdict.status != "inconclusive":
        return None
    found = main_cause(report)
    return NextStep(reason=found.reason, command=found.command, estimate=found.estimate)


def _leak(report: AuditReport) -> str:
    (recovered, total), other, words = rebuilt(report), unlisted(report), report.kind.words
    where = "from these two files"
    if recovered and other:
        return f"{_rebuilt(report, recovered, total)}, and {words.count(other)} beyond those given"
    if other:
        known = f" that {'is' if other == 1 else 'are'} not among those given" if report.inputs.data else ""
        return f"{words.count(other)}{known} can be rebuilt exactly {where}"
    if recovered:
        return _rebuilt(report, recovered, total)
    return _trace(report) or f"A limit that was set is exceeded, though no training {words.one} was rebuilt"


def _told(report: AuditReport, found: Exposure) -> str:
    """Say what the exposure of records comes to, where no attack was run."""
    words, status = report.kind.words, report.verdict.status
    all_, others = words.count(found.measured), f"{words.many} that were not trained on"
    limits = "; the limits that were set allow that" if status == "pass" else ""
    if found.detected:
        return f"{found.detected} of {all_} can be told from {others}{limits}"
    if found.at_least:
        return f"At least {found.at_least} of {all_} were trained on, as these two files show{limits}"
    if status == "inconclusive":
        return main_cause(report).said
    if status == "pass" and not found.resolved:
        few = words.count(found.held_out, "held-out")
        return f"The limits that were set hold; {few} are too few to tell single ones"
    exceeded = "A limit that was set is exceeded, though " if status == "fail" else ""
    return f"{exceeded}{'n' if exceeded else 'N'}one of {all_} can be told from {others}"


def _rebuilt(report: AuditReport, recovered: int, total: int) -> str:
    words = report.kind.words
    who = f"The training {words.one}" if total == 1 else f"{recovered} of {words.count(total, 'training')}"
    return f"{who} can be rebuilt from these two files"


def _trace(report: AuditReport) -> str:
    telling = [finding.rule for finding in report.findings if finding.leaks and finding.severity != "low"]
    rule = next((name for name in telling if name in _TRACES), "")
    return _TRACES[rule].format(one=report.kind.words.one, many=report.kind.words.many) if rule else ""


def _clear(report: AuditReport) -> str:
    many, found = report.kind.words.many, report.power
    if found and found.status == "leaks":
        size = report.kind.words.count(found.records)
        like = f"the same attacks rebuild {found.recovered} of {size} from a training like this one"
        return f"{none_rebuilt(report)}, and {like}"
    ended = {attack.name for attack in report.attacks if attack.status == "converged"}
    tried = f"the {count(len(ended), 'attack')} that came to an end" if ended else "any attack that was run"
    return f"{none_rebuilt(report)} by {tried}" if rebuilt(report)[1] else f"No training {many} were rebuilt by {tried}"
