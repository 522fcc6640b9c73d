from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from memaudit.audit.report.model import AuditReport
from memaudit.audit.report.results import PlanStep
from memaudit.audit.report.verdict import GateResult
from memaudit.audit.verdict.rules import RULES
from memaudit.reports import junit

from .samples import EVERY

LEAKS = [rule.id for rule in RULES.values() if rule.leak and rule.id not in ("MA006", "MA007", "MA008")]
"""Rules about leaks of one attack; words that training saw, and a base made to store, are of the whole audit."""


def cases(report: AuditReport, suite: str) -> dict[str, tuple[str, str]]:
    """Return how the cases of a suite ended, and why, by their rule or gate."""
    found = next(element for element in junit.suites(report) if element.get("name") == suite)
    ends = {}
    for case in found:
        told = case[0] if len(case) else None
        name = case.get("name", "")
        key = name.split()[0] if name.startswith("MA") else name
        ends[key] = ("passed", "") if told is None else (told.tag, told.get("message") or told.text or "")
    return ends


def changed(report: AuditReport, **update: Any) -> AuditReport:
    return report.model_copy(update=update)


@pytest.mark.parametrize("name", EVERY)
def test_it_parses_counts_rightly_and_is_stable(
    name: str, request: pytest.FixtureRequest, folder: Path, tmp_path: Path
) -> None:
    report: AuditReport = request.getfixturevalue(name)
    path = junit.write(report, folder, tmp_path / "report.xml")
    assert path.read_bytes() == junit.write(report.model_copy(deep=True), folder, tmp_path / "b.xml").read_bytes()
    root = ElementTree.parse(path).getroot()
    parsed = JUnitXml.fromfile(str(path))
    stated = (parsed.tests, parsed.failures, parsed.errors, parsed.skipped)
    parsed.update_statistics()
    assert stated == (parsed.tests, parsed.failures, parsed.errors, parsed.skipped)
    for suite, element in zip(parsed, root, strict=True):
        kinds = [type(result) for case in suite for result in case.result]
        assert suite.tests == len(list(suite)) == int(element.get("tests", "-1"))
        assert element.get("failures") == str(kinds.count(Failure))
        assert element.get("errors") == str(kinds.count(Error))
        assert element.get("skipped") == str(kinds.count(Skipped))
        names = [case.name for case in suite]
        assert len(names) == len(set(names))


def test_there_is_a_suite_for_each_attack_the_audit_and_the_gates(leak: AuditReport) -> None:
    names = [suite.get("name") for suite in junit.suites(leak)]
    assert names == ["simudy", "gradient_inversion", "haim", "audit", "gates"]


def test_a_leak_that_the_gates_do_not_allow_is_a_failure(leak: AuditReport) -> None:
    found = cases(leak, "simudy")
    assert list(found) == LEAKS
    assert found["MA001"] == ("failure", leak.findings[0].message)
    assert found["MA002"][0] == "skipped"
    assert cases(leak, "gates") == {"recovered>0 does not hold": ("failure", leak.verdict.gates[0].reason)}


def test_a_name_says_what_is_tested_and_is_the_same_whatever_comes_out(leak: AuditReport, clean: AuditReport) -> None:
    for report in (leak, clean):
        names = [case.get("name", "") for case in junit.suites(report)[0]]
        assert "MA001 simudy reconstructs no training image" in names
        assert "MA003 what simudy makes points to no training image" in names


def test_a_leak_that_the_gates_allow_passes_but_is_told(leak: AuditReport) -> None:
    report = changed(leak, verdict=leak.verdict.model_copy(update={"status": "pass"}))
    assert cases(report, "simudy")["MA001"] == ("system-out", leak.findings[0].message)
    assert junit.suites(report)[0].get("failures") == "0"


def test_what_cannot_run_or_does_not_converge_is_skipped(leak: AuditReport) -> None:
    found = cases(leak, "haim")
    assert {end for end, _ in found.values()} == {"skipped"}
    assert "unsupported" in found["MA001"][1]
    assert "binary classifier" in found["MA001"][1]
    assert found["MA101"] == ("skipped", "It ended as unsupported: haim needs a binary classifier.")
    assert {end for end, _ in cases(leak, "gradient_inversion").values()} == {"skipped"}
    assert cases(leak, "audit") == {"MA106": ("skipped", "Assumed, neither given nor inferred: learning rate.")}


def test_an_attack_that_was_left_out_is_skipped(many: AuditReport) -> None:
    found = cases(many, "gion")
    assert list(found) == LEAKS
    assert set(found.values()) == {("skipped", "The attack was not run: takes a day")}


def test_an_attack_without_a_result_is_skipped(leak: AuditReport) -> None:
    report = changed(leak, plan=[PlanStep(attack="span", runs=True, reason="always applies")])
    assert set(cases(report, "span").values()) == {("skipped", "The attack has no result.")}


def test_a_rule_passes_only_on_evidence(clean: AuditReport) -> None:
    attack = clean.attacks[0]
    metrics = attack.metrics.model_copy(update={"recovered": 0})
    seen = changed(clean, attacks=[attack.model_copy(update={"metrics": metrics})], findings=[])
    found = cases(seen, "simudy")
    assert found["MA001"] == found["MA002"] == found["MA003"] == ("passed", "")
    assert found["MA004"] == ("skipped", "It was not measured, or a worse rule holds.")
    bare = metrics.model_copy(update={"p_value": None, "identifiable": None})
    found = cases(changed(seen, attacks=[attack.model_copy(update={"metrics": bare})]), "simudy")
    assert found["MA001"] == ("passed", "")
    assert found["MA002"][0] == found["MA003"][0] == "skipped"
    found = cases(changed(seen, attacks=[attack.model_copy(update={"metrics": None})]), "simudy")
    assert {end for end, _ in found.values()} == {"skipped"}


def test_recovered_images_without_a_finding_never_pass(leak: AuditReport) -> None:
    """A report of an older version has no findings."""
    assert cases(changed(leak, findings=[]), "simudy")["MA001"][0] == "skipped"


def test_missing_evidence_clears_no_rule(clean: AuditReport, leak: AuditReport) -> None:
    told = leak.findings[1].model_copy(update={"rule": "MA102", "attack": "simudy", "blocks": True, "message": "Few."})
    found = cases(changed(clean, findings=[told]), "simudy")
    assert set(found.values()) == {("skipped", "Few.")}
    whole = told.model_copy(update={"rule": "MA103", "attack": "", "message": "Rounding."})
    report = changed(clean, findings=[whole])
    assert set(cases(report, "simudy").values()) == {("skipped", "Rounding.")}
    assert cases(report, "audit") == {"MA103": ("skipped", "Rounding.")}


def test_an_inconclusive_gate_is_an_error(blind: AuditReport, clean: AuditReport) -> None:
    assert cases(blind, "gates")["recovered>0 does not hold"][0] == "error"
    gates = [GateResult(expression="ssim_max>=0.9", status="pass", reason="It did not hold.")]
    report = changed(clean, verdict=clean.verdict.model_copy(update={"gates": gates}))
    assert cases(report, "gates") == {"ssim_max>=0.9 does not hold": ("system-out", "It did not hold.")}


def test_every_rule_about_leaks_says_what_clears_it() -> None:
    assert list(junit._CLEARS) == LEAKS


def test_what_xml_cannot_hold_is_removed(leak: AuditReport, folder: Path, tmp_path: Path) -> None:
    message = "a\x00b\x1b[31m\x85\ufffe\ud800c\U0001f600 ]]> &amp; <x> \"'"
    report = changed(leak, model=message, findings=[leak.findings[0].model_copy(update={"message": message})])
    root = ElementTree.parse(junit.write(report, folder, tmp_path / "report.xml")).getroot()
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.text == failure.get("message") == "ab[31m\x85c\U0001f600 ]]> &amp; <x> \"'"


def test_exposure_is_a_case_of_its_own(exposed: AuditReport, hidden: AuditReport, few: AuditReport) -> None:
    assert exposed.exposure is not None
    assert cases(exposed, "exposure") == {"MA008": ("failure", exposed.exposure.reason)}
    assert "audit" not in [suite.get("name") for suite in junit.suites(exposed)]
    assert hidden.exposure is not None
    assert cases(hidden, "exposure") == {"MA008": ("system-out", hidden.exposure.reason)}
    assert cases(few, "exposure") == {"MA008": ("skipped", "100 of 400 images were not measured.")}
    assert cases(few, "gates")["detected>0 does not hold"][0] == "error"


def test_exposure_is_not_cleared_without_evidence_nor_told_where_it_was_not_measured(
    hidden: AuditReport, drawn: AuditReport, leak: AuditReport
) -> None:
    blocks = leak.findings[1].model_copy(
        update={"rule": "MA107", "attack": "", "message": "Not these.", "blocks": True}
    )
    assert cases(changed(hidden, findings=[blocks]), "exposure") == {"MA008": ("skipped", "Not these.")}
    assert cases(drawn, "exposure")["MA008"][0] == "system-out", "its gates allow it, and it is told all the same"
    assert "exposure" not in [suite.get("name") for suite in junit.suites(leak)]
