import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from jsonschema import Draft4Validator

from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.model import AuditReport
from memaudit.audit.verdict.rules import RULES
from memaudit.audit.verdict.rules import rules as told
from memaudit.reports import sarif

from .samples import EVERY

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))


def run(report: AuditReport) -> dict[str, Any]:
    return sarif.log(report)["runs"][0]


def anywhere(value: Any) -> list[Any]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [value, *(inner for part in parts for inner in anywhere(part))]


def at(report: AuditReport, path: str) -> AuditReport:
    after = report.inputs.after.model_copy(update={"path": path})
    return report.model_copy(update={"inputs": report.inputs.model_copy(update={"after": after})})


def test_the_vendored_schema_is_the_official_one() -> None:
    assert SCHEMA["id"] == sarif.SCHEMA
    Draft4Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", EVERY)
def test_it_is_valid_and_stable(name: str, request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> None:
    report: AuditReport = request.getfixturevalue(name)
    one = sarif.write(report, folder, tmp_path / "one.sarif").read_bytes()
    assert one == sarif.write(report.model_copy(deep=True), folder, tmp_path / "two.sarif").read_bytes()
    found = json.loads(one, parse_constant=pytest.fail)
    Draft4Validator(SCHEMA, format_checker=Draft4Validator.FORMAT_CHECKER).validate(found)
    assert None not in anywhere(found)
    for address in re.findall(r'"(?:uri|informationUri|\$schema)": "([^"]*)"', one.decode()):
        urlsplit(address)
        assert re.fullmatch(r"[!#-;=?-\[\]_a-z~%]+", address), address


def test_the_validator_is_not_asleep(leak: AuditReport) -> None:
    found = sarif.log(leak)
    found["runs"][0]["results"][0]["level"] = "grave"
    assert not Draft4Validator(SCHEMA).is_valid(found)


@pytest.mark.parametrize("name", EVERY)
def test_every_result_can_be_shown_by_code_scanning(name: str, request: pytest.FixtureRequest) -> None:
    report: AuditReport = request.getfixturevalue(name)
    found = run(report)
    rules = found["tool"]["driver"]["rules"]
    leaks = list(dict.fromkeys(finding.rule for finding in report.findings if finding.leaks))
    assert [result["ruleId"] for result in found["results"]] == leaks, "one for each rule"
    for result in found["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        (place,) = result["locations"]
        physical = place["physicalLocation"]
        assert physical["region"] == {"startLine": 1}
        where = found["artifacts"][physical["artifactLocation"]["index"]]
        assert where["location"]["uri"] == physical["artifactLocation"]["uri"]
        assert where["hashes"] == {"sha-256": report.inputs.after.sha256}
        attacks = {finding.attack or "audit" for finding in report.findings if finding.rule == result["ruleId"]}
        assert {where["fullyQualifiedName"] for where in place["logicalLocations"]} == attacks


def test_only_a_leak_is_a_result(leak: AuditReport, blind: AuditReport) -> None:
    (result,) = run(leak)["results"]
    assert (result["ruleId"], result["kind"], result["level"]) == ("MA001", "fail", "error")
    assert result["properties"]["records"] == 3
    assert not run(blind)["results"]


@pytest.mark.parametrize("name", EVERY)
def test_missing_evidence_is_a_notification(name: str, request: pytest.FixtureRequest) -> None:
    report: AuditReport = request.getfixturevalue(name)
    found = run(report)
    kinds, told = found["tool"]["driver"]["notifications"], found["invocations"][0]["toolExecutionNotifications"]
    notes = [finding for finding in report.findings if not finding.leaks]
    assert [note["descriptor"]["id"] for note in told] == [finding.rule for finding in notes]
    for note, finding in zip(told, notes, strict=True):
        assert kinds[note["descriptor"]["index"]]["id"] == finding.rule
        assert note["level"] == ("warning" if finding.blocks else "note")


def test_a_result_is_known_again_by_rule_and_model_alone(leak: AuditReport) -> None:
    first = leak.findings[0]
    other = first.model_copy(update={"attack": "span", "severity": "high", "records": [2, 7], "message": "More."})
    more = leak.model_copy(update={"findings": [other, *leak.findings]})
    (before,), (after,) = run(leak)["results"], run(more)["results"]
    assert before["partialFingerprints"] == after["partialFingerprints"]
    assert after["level"] == "error"
    assert after["properties"]["records"] == len({*first.records, 2, 7})
    assert "span: More." in after["message"]["text"]
    renamed = run(leak.model_copy(update={"model": "another"}))["results"][0]
    assert renamed["partialFingerprints"] != before["partialFingerprints"]


@pytest.mark.parametrize(
    ("severity", "level"), [("critical", "error"), ("high", "error"), ("medium", "warning"), ("low", "note")]
)
def test_the_level_is_that_of_the_severity(leak: AuditReport, severity: str, level: str) -> None:
    finding = leak.findings[0].model_copy(update={"severity": severity})
    found = run(leak.model_copy(update={"findings": [finding]}))
    assert found["results"][0]["level"] == level
    rule = found["tool"]["driver"]["rules"][0]
    assert rule["defaultConfiguration"]["level"] == level
    ranges = {"critical": (9.0, 10.0), "high": (7.0, 8.9), "medium": (4.0, 6.9), "low": (0.1, 3.9)}
    least, most = ranges[severity]
    assert least <= float(rule["properties"]["security-severity"]) <= most


def test_every_rule_is_described(clean: AuditReport) -> None:
    driver = run(clean)["tool"]["driver"]
    rules = [*driver["rules"], *driver["notifications"]]
    assert [rule["id"] for rule in rules] == list(RULES)
    for rule in rules:
        leak = RULES[rule["id"]].leak
        assert told(IMAGE)[rule["id"]].help in rule["help"]["text"]
        assert ("security" in rule["properties"]["tags"]) is leak
        assert ("security-severity" in rule["properties"]) is leak
        assert ("relationships" in rule) is leak


def test_a_rule_of_a_newer_version_is_named(leak: AuditReport) -> None:
    finding = leak.findings[0].model_copy(update={"rule": "MA999", "name": "Later"})
    found = run(leak.model_copy(update={"findings": [finding]}))
    place = found["results"][0]["ruleIndex"]
    assert found["tool"]["driver"]["rules"][place] == {"id": "MA999", "name": "Later"}


def test_the_class_of_attacks_is_nists(leak: AuditReport) -> None:
    found = run(leak)
    (taxonomy,) = found["taxonomies"]
    assert (taxonomy["version"], taxonomy["taxa"][0]["id"]) == ("e2025", "NISTAML.032")
    assert found["results"][0]["taxa"][0]["toolComponent"] == {"name": taxonomy["name"], "index": 0}


@pytest.mark.parametrize(
    ("name", "code", "said"), [("leak", 1, "fail"), ("clean", 0, "pass"), ("blind", 3, "inconclusive")]
)
def test_the_exit_code_is_that_of_the_verdict(name: str, code: int, said: str, request: pytest.FixtureRequest) -> None:
    (invocation,) = run(request.getfixturevalue(name))["invocations"]
    assert invocation["executionSuccessful"] is True
    assert (invocation["exitCode"], invocation["exitCodeDescription"]) == (code, said)


def test_the_run_is_told_from_others_by_the_model_alone(leak: AuditReport) -> None:
    later = leak.model_copy(update={"created": "2031-01-01T00:00:00+00:00"})
    assert run(later)["automationDetails"] == {"id": "memaudit/cifar-classifier/"} == run(leak)["automationDetails"]
    assert run(leak.model_copy(update={"model": "team/a"}))["automationDetails"] == {"id": "memaudit/team-a/"}
    assert run(leak.model_copy(update={"model": ""}))["automationDetails"] == {"id": "memaudit/after.safetensors/"}


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("models/after.pt", "models/after.pt"),
        ("./models/../after model #1.pt", "after%20model%20%231.pt"),
        ("../elsewhere/after.pt", "after.pt"),
        ("/home/someone/secret/after.pt", "after.pt"),
        (r"C:\Users\someone\after.pt", "after.pt"),
        ("file:///home/someone/after.pt", "file%3A/home/someone/after.pt"),
        ("modèle?.pt", "mod%C3%A8le%3F.pt"),
        ("model/", "model"),
        ("", "checkpoint"),
        ("\ud800.pt", "%3F.pt"),
    ],
)
def test_an_address_is_relative_and_quoted(
    path: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sarif.address(path) == address


def test_no_path_of_the_machine_no_record_and_no_picture_is_told(leak: AuditReport, tmp_path: Path) -> None:
    text = json.dumps(sarif.log(at(leak, str(tmp_path / "after.pt"))))
    assert str(tmp_path.parent) not in unquote(text)
    assert leak.command not in text
    for match in leak.attacks[0].matches:
        assert match.name not in text
        assert match.truth.path not in text


def test_a_path_below_the_current_folder_becomes_relative(
    leak: AuditReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(at(leak, str(tmp_path / "models" / "after.pt")))
    assert found["artifacts"][1]["location"]["uri"] == "models/after.pt"


def test_a_message_holds_no_link_and_no_placeholder(leak: AuditReport) -> None:
    finding = leak.findings[0].model_copy(update={"message": r"see [this](https://evil.example) {0} \x"})
    text = run(leak.model_copy(update={"findings": [finding]}))["results"][0]["message"]["text"]
    assert text == r"simudy: see \[this\](https://evil.example) {{0}} \\x"


def test_records_that_are_told_are_of_the_class_of_membership_inference(
    exposed: AuditReport, both: AuditReport, few: AuditReport
) -> None:
    found = run(exposed)
    (result,) = found["results"]
    assert (result["ruleId"], result["level"], result["taxa"][0]["id"]) == ("MA008", "error", "NISTAML.033")
    assert exposed.exposure is not None
    assert result["properties"]["records"] == exposed.exposure.detected
    taxa = found["taxonomies"][0]["taxa"]
    assert taxa[result["taxa"][0]["index"]] == {"id": "NISTAML.033", "name": "Membership Inference"}
    assert {r["ruleId"]: r["taxa"][0]["id"] for r in run(both)["results"]} == {
        "MA001": "NISTAML.032", "MA008": "NISTAML.033",
    }  # fmt: skip
    assert run(few)["results"] == []
    assert "train/" not in json.dumps(found).replace(r"\/", "/")
