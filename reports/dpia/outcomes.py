"""The outcome of each attack, of each class of attacks, and of all: for people who judge risk."""

from collections.abc import Sequence
from typing import NamedTuple

from ...audit.report.exposure import Exposure
from ...audit.report.model import AuditReport
from ...audit.report.results import AttackResult, BestMatch
from ...audit.verdict.tally import exposure_only
from ..common import extracts
from ..common.exposure import tells, unclear, unsaid
from .threats import compliance, threats


class Outcome(NamedTuple):
    """What an attack, or a class of attacks, says about the model."""

    state: str
    said: str


class Risk(NamedTuple):
    """What the findings say about likelihood and severity, technically."""

    likelihood: str
    why: str
    severity: str


def outcomes(report: AuditReport) -> dict[str, Outcome]:
    """Return the outcome of each attack that :func:`.threats.threats` knows, in the same order."""
    return {name: _outcome(report, name) for name in threats(report)}


def _outcome(report: AuditReport, name: str) -> Outcome:
    results, words = [result for result in report.attacks if result.name == name], report.kind.words
    if not results:
        reasons = [step.reason for step in report.plan if step.attack == name and step.reason]
        return Outcome("not run", "; ".join(reasons))
    measured = [result.metrics for result in results if result.metrics]
    most = max(measured, key=lambda metrics: metrics.recovered, default=None)
    if most and most.recovered:
        return Outcome("recovered", f"Recovered {most.recovered} of {most.records} training {words.many}.")
    if all(result.status == "unsupported" for result in results):
        return Outcome("not applicable", results[0].reason or "The attack cannot treat this model or recipe.")
    if reason := _unclear(report, name, results):
        return Outcome("inconclusive", reason)
    return Outcome("ran", f"Explained the change and recovered none of {words.count(measured[0].records)}.")


def _unclear(report: AuditReport, name: str, results: Sequence[AttackResult]) -> str:
    """Return why nothing follows from an attack that recovered nothing; empty where something does."""
    if not any(result.status == "converged" for result in results):
        ends = " and ".join(dict.fromkeys(result.status.replace("_", " ") for result in results))
        return f"Ended as {ends}: nothing follows from it."
    if not any(result.metrics for result in results if result.status == "converged"):
        return f"It explained the change, but what it found was not compared with any training {report.kind.words.one}."
    blocks = [f.message for f in report.findings if f.blocks and f.attack in ("", name)]
    if blocks:
        return f"It explained the change, but {blocks[0][:1].lower()}{blocks[0][1:]}"
    if report.verdict.status == "inconclusive":
        return "It explained the change, but the audit as a whole is inconclusive (section 1)."
    return ""


_STATES = ("recovered", "ran", "inconclusive", "not applicable", "not run")


def classes(report: AuditReport) -> list[tuple[dict[str, str], Outcome]]:
    """Return what was run of each class of attacks: the most telling outcome of those that count as it."""
    found, models, described = outcomes(report), threats(report), []
    for kind in compliance()["edpb"]:
        if kind["key"] == "membership":
            described.append((kind, membership(report)))
            continue
        same = {name: end for name, end in found.items() if models[name].kind == kind["key"]}
        states = {state: [name for name, end in same.items() if end.state == state] for state in _STATES}
        said = [f"{state}: {', '.join(names)}" for state, names in states.items() if names and state != "not run"]
        left_out = len(states["not run"])
        said += [f"not run: {left_out} of {len(same)}"] if left_out else []
        state = next((state for state in _STATES if states[state]), "not run")
        attacks = f"Attacks: {'; '.join(said)}." if said else ""
        described.append((kind, Outcome("ran" if state == "recovered" else state, attacks)))
    return described


def membership(report: AuditReport) -> Outcome:
    """Return what was measured of the exposure of records."""
    found = report.exposure
    if found is None:
        return Outcome("not measured", "It was not measured in this audit (memaudit exposure does).")
    missing = unsaid(report, found)
    if not (found.detected or found.at_least) and not missing and report.verdict.status == "inconclusive":
        missing = "The audit as a whole is inconclusive (section 1)."
    state = "ran" if tells(report, found) and not missing else "inconclusive"
    return Outcome(state, f"{found.reason} {missing}".rstrip())


def risk(report: AuditReport) -> Risk:
    """Return likelihood and severity as far as the findings show; who is affected is for a person to judge."""
    if report.exposure is not None and exposure_only(report):
        return _risk_of_exposure(report, report.exposure)
    recovered, leaks, words = len(exposed(report)), any(f.leaks for f in report.findings), report.kind.words
    severity = _severity(report)
    if recovered:
        was = f"{words.count(recovered, 'training')} {'was' if recovered == 1 else 'were'}"
        why = f"{was} recovered in this audit; the attack needs no more than section 4 says."
        return Risk("demonstrated", why, severity)
    if report.verdict.status == "inconclusive":
        hint = " What was found below points to a leak anyway." if leaks else ""
        return Risk("not determined", f"The audit is inconclusive.{hint}", severity)
    if leaks or report.verdict.status == "fail":
        why = f"No {words.one} is recovered, but there is a trace of the training {words.many}."
        return Risk("indicated", why, severity)
    why = f"None of the attacks that ran recovered any {words.one}; others were not run."
    return Risk("not observed", why, severity)


def _severity(report: AuditReport) -> str:
    unknown = report.verdict.severity == "none" and report.verdict.status != "pass"
    return "not determined" if unknown else report.verdict.severity


def _risk_of_exposure(report: AuditReport, found: Exposure) -> Risk:
    many, severity = report.kind.words.many, _severity(report)
    untried = f"Whether {many} can be rebuilt was not tried."
    if found.detected:
        why = f"{found.reason} Whoever holds both files and a candidate can do the same. {untried}"
        return Risk("demonstrated", why, severity)
    if found.at_least:
        return Risk("indicated", f"{found.reason} {untried}", severity)
    if report.verdict.status == "pass" and not unclear(report, found):
        return Risk("not observed", f"{found.reason} {untried}", severity)
    return Risk("not determined", f"{unclear(report, found) or report.verdict.summary} {untried}", severity)


def exposed(report: AuditReport) -> list[BestMatch]:
    """Return the affected records, the most similar first."""
    return [best for best in extracts.records(report) if best.recovered_by or best.match.recovered]
