import json
from pathlib import Path

import pytest

from memaudit.audit.report import Fact, ReportError, SearchPoint, load, schema


def test_committed_schema_is_the_models():
    committed = json.loads((Path(__file__).resolve().parents[2] / "docs" / "report-schema.json").read_text())
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
