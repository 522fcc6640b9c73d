import json
from pathlib import Path

import pytest

from memaudit.audit.report.facts import Fact, SearchPoint
from memaudit.audit.report.file import load, schema
from memaudit.audit.report.model import ReportError
from memaudit.audit.verdict.expression import parse
from memaudit.audit.verdict.gate import judge

from ..verdict.test_findings import match, result


def test_committed_schema_is_the_models():
    committed = json.loads((Path(__file__).resolve().parents[3] / "docs" / "report-schema.json").read_text())
    assert committed == schema(), "run: make docs"


def test_numbers_that_json_cannot_hold_become_null():
    point = SearchPoint(lr=0.1, loss=float("inf"), change_ratio=float("nan"), iterations=3, status="diverged")
    assert json.loads(point.model_dump_json())["loss"] is None
    assert json.loads(point.model_dump_json())["change_ratio"] is None


def test_a_whole_number_stays_one():
    for value in (True, 20, 0.5, "sgd", None):
        found = Fact.model_validate_json(Fact(value=value, source="given").model_dump_json()).value
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not a memaudit report"),
        ("[]", "not a memaudit report"),
        ("{}", "schema_version"),
        ('{"schema_version": "2.0"}', "2.0"),
        ('{"schema_version": "1.0"}', "not a memaudit report"),
        ('{"schema_version": "1.9", "verdict": 3}', "not a memaudit report"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, content, said):
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(ReportError) as error:
        load(path)
    assert said in str(error.value)
    assert "report.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_absent_and_folder(tmp_path):
    with pytest.raises(ReportError, match="does not exist"):
        load(tmp_path)


def test_a_report_without_findings_is_completed_when_it_is_read(report, tmp_path):
    """A leak that an older version wrote must not look clean to a gate on severity."""
    pair = match(0)
    attack = result(matches=[pair])
    old = json.loads(report.model_copy(update={"attacks": [attack]}).to_json())
    for name in ("findings", "content_sha256", "advice", "defences", "model", "evidence"):
        del old[name]
    del old["verdict"]["severity"]
    (tmp_path / "report.json").write_text(json.dumps(old | {"schema_version": "1.2"}))
    found = load(tmp_path)
    assert [finding.rule for finding in found.findings] == ["MA001"]
    assert found.verdict.severity == "high"
    assert judge(found.attacks, [parse("severity>=high")], findings=found.findings).status == "fail"


def test_names_give_way_to_numbers_where_pictures_are_left_out(report):
    report = report.model_copy(update={"attacks": [result(matches=[match(0), match(3)])]})
    text = report.nameless().to_json()
    assert "3.png" not in text
    assert "image 3" in text
    assert "3.png" in report.to_json()


def test_what_nobody_knew_of_the_recipe_is_absent_and_the_nulls_of_older_reports_are_dropped(report, tmp_path):
    content = json.loads(report.to_json())
    assert content["recipe"].keys() == report.recipe.keys()
    assert None not in content["recipe"].values()
    content["recipe"] |= {"labels": None, "beta1": None}
    (tmp_path / "report.json").write_text(json.dumps(content))
    assert load(tmp_path).recipe == report.recipe
    content["recipe"]["lr"] = 0.1
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.raises(ReportError, match=r"recipe\.lr"):
        load(tmp_path)
