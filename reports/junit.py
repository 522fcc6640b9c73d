"""The findings and gates as JUnit XML: a suite for each attack with a case for each rule, one of the exposure, one of
the gates.

A case passes only where evidence clears it: without, it is skipped, and an inconclusive gate is an error.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from xml.etree import ElementTree

from ..audit.files import write_text
from ..audit.outputs import Look
from ..audit.report.model import AuditReport
from ..audit.report.results import AttackResult, PlanStep
from ..audit.report.verdict import Decision, Finding
from ..audit.verdict.rules import Rule, rules
from .common.exposure import RULE, unclear

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, in any notation."""

_CLEARS: dict[str, Callable[[AttackResult], bool]] = {
    "MA001": lambda result: result.metrics is not None and not result.metrics.recovered,
    "MA002": lambda result: (
        _CLEARS["MA001"](result) and result.metrics is not None and result.metrics.p_value is not None
    ),
    "MA003": lambda result: result.metrics is not None and result.metrics.identifiable is not None,
    "MA004": lambda result: result.agreement is not None and not result.agreement.confident,
    "MA005": lambda result: False,
}
"""What a converged result must show for a rule without a finding to count as passed; nothing does for the last."""


_TESTED = {
    "MA001": "{attack} reconstructs no training {one}",
    "MA002": "what {attack} makes is no more like the training {many} than like held-out {many}",
    "MA003": "what {attack} makes points to no training {one}",
    "MA004": "the seeds of {attack} agree on no {one}",
    "MA005": "no {many} but those of --data come out of {attack}",
}
"""What a case tests of an attack: it passes where this holds. Other rules are of the audit as a whole."""

Outcome = Literal["passed", "failure", "error", "skipped"]


class Case(NamedTuple):
    """One test case: how it ended, why, and of which kind that is."""

    name: str
    outcome: Outcome = "passed"
    message: str = ""
    kind: str = ""


def write(report: AuditReport, folder: Path, destination: Path, look: Look = Look()) -> Path:  # noqa: B008 - frozen
    """Write the report as JUnit XML.

    Raises:
        FormatError: The destination cannot be written.
    """
    root = suites(report)
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return write_text(destination, f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n')


def suites(report: AuditReport) -> ElementTree.Element:
    """Return the tree, with the counts that belong to it."""
    by: dict[str, list[AttackResult]] = {}
    for result in report.attacks:
        by.setdefault(result.name, []).append(result)
    found = [
        _suite(name, list(_judged(name, results, report)), sum(result.seconds for result in results))
        for name, results in by.items()
    ]
    found += [_suite(step.attack, _left_out(step, report)) for step in report.plan if step.attack not in by]
    told, apart = by.keys() | {step.attack for step in report.plan}, list(_exposure(report))
    rest = [finding for finding in report.findings if finding.attack not in told and not (apart and _exposes(finding))]
    found += [_suite("exposure", apart), _suite("audit", [_case(finding, report) for finding in rest])]
    found.append(_suite("gates", [_gate(gate.expression, gate.status, gate.reason) for gate in report.verdict.gates]))
    return _sum(ElementTree.Element("testsuites", {"name": _legal(f"memaudit {report.model}".strip())}), found)


def _judged(attack: str, results: Sequence[AttackResult], report: AuditReport) -> Iterator[Case]:
    """Return a case for each rule about leaks, then one for each piece of evidence that is missing."""
    found, known = [finding for finding in report.findings if finding.attack == attack], rules(report.kind)
    leaks = {finding.rule: finding for finding in found if finding.rule in known and finding.leaks}
    blocked = [finding for finding in report.findings if finding.blocks and finding.attack in ("", attack)]
    for rule in known.values():
        if rule.id in leaks:
            yield _case(leaks[rule.id], report)
        elif rule.id in _TESTED:
            yield _unfound(rule, attack, results, blocked, report)
    yield from (_case(finding, report) for finding in found if leaks.get(finding.rule) is not finding)


def _unfound(
    rule: Rule, attack: str, results: Sequence[AttackResult], blocked: Sequence[Finding], report: AuditReport
) -> Case:
    name = _name(rule, attack, report)
    converged = [result for result in results if result.status == "converged"]
    if not converged:
        ends = ", ".join(dict.fromkeys(result.status.replace("_", " ") for result in results))
        reason = next((f" {result.reason}" for result in results if result.reason), "")
        return Case(name, "skipped", f"The attack did not converge ({ends}): it clears nothing.{reason}")
    if blocked:
        return Case(name, "skipped", " ".join(finding.message for finding in blocked))
    if not any(_CLEARS[rule.id](result) for result in converged):
        return Case(name, "skipped", "It was not measured, or a worse rule holds.")
    return Case(name)


_OUTCOMES: dict[Decision, Outcome] = {"fail": "failure", "pass": "passed", "inconclusive": "skipped"}
"""What a leak is, by what the gates made of the audit."""


def _case(finding: Finding, report: AuditReport) -> Case:
    """Return a finding as a case: what the gates let pass is not a failure, but is still shown."""
    rule = rules(report.kind).get(finding.rule)
    name = _name(rule, finding.attack, report) if rule else f"{finding.rule} {finding.name}"
    if not finding.leaks:
        return Case(name, "skipped", finding.message)
    return Case(name, _OUTCOMES[report.verdict.status], finding.message, finding.severity)


def _exposes(finding: Finding) -> bool:
    return finding.rule == RULE


def _exposure(report: AuditReport) -> Iterator[Case]:
    """Return a case of the exposure of records, where it was measured."""
    if report.exposure is None:
        return
    rule, leaks = rules(report.kind)[RULE], [finding for finding in report.findings if _exposes(finding)]
    if leaks:
        yield from (_case(finding, report) for finding in leaks)
    elif missing := unclear(report, report.exposure):
        yield Case(_name(rule, "", report), "skipped", missing)
    else:
        yield Case(_name(rule, "", report), "passed", report.exposure.reason)


def _left_out(step: PlanStep, report: AuditReport) -> list[Case]:
    reason = "The attack has no result." if step.runs else f"The attack was not run: {step.reason}"
    known = rules(report.kind).values()
    return [Case(_name(rule, step.attack, report), "skipped", reason) for rule in known if rule.id in _TESTED]


def _gate(expression: str, status: str, reason: str) -> Case:
    name = f"{expression} does not hold"
    match status:
        case "pass":
            return Case(name, "passed", reason)
        case "fail":
            return Case(name, "failure", reason, "gate")
        case _:
            return Case(name, "error", reason, "inconclusive")


def _name(rule: Rule, attack: str, report: AuditReport) -> str:
    """Return what a rule tests of an attack; of missing evidence, what is missing."""
    if rule.leak and rule.id in _TESTED:
        words = report.kind.words
        return f"{rule.id} {_TESTED[rule.id].format(attack=attack, one=words.one, many=words.many)}"
    return f"{rule.id} {'none of this: ' if rule.leak else ''}{rule.title}"


def _suite(name: str, cases: Sequence[Case], seconds: float = 0.0) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", {"name": _legal(name)})
    suite.set("tests", str(len(cases)))
    for word, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(word, str(sum(case.outcome == outcome for case in cases)))
    suite.set("time", f"{seconds:.3f}")
    for case in cases:
        element = ElementTree.SubElement(
            suite, "testcase", {"name": _legal(case.name), "classname": _legal(f"memaudit.{name}"), "time": "0.000"}
        )
        if case.outcome == "passed":
            if case.message:
                ElementTree.SubElement(element, "system-out").text = _legal(case.message)
            continue
        told = ElementTree.SubElement(element, case.outcome, {"message": _legal(case.message)})
        if case.kind:
            told.set("type", case.kind)
            told.text = _legal(case.message)
    return suite


def _sum(root: ElementTree.Element, found: Sequence[ElementTree.Element]) -> ElementTree.Element:
    kept = [suite for suite in found if len(suite)]
    for word in ("tests", "failures", "errors", "skipped"):
        root.set(word, str(sum(int(suite.get(word, "0")) for suite in kept)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in kept):.3f}")
    root.extend(kept)
    return root


def _legal(text: str) -> str:
    return _ILLEGAL.sub("", text)
