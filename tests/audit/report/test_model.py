import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from memaudit.audit.report.exhibit import Text
from memaudit.audit.report.facts import Delta, Fact, SearchPoint
from memaudit.audit.report.file import load, schema
from memaudit.audit.report.kind import IMAGE
from memaudit.audit.report.model import AuditReport, ReportError
from memaudit.audit.report.results import BestMatch, Dummy
from memaudit.audit.verdict.expression import parse
from memaudit.audit.verdict.gate import judge

from ..verdict.test_findings import match, metrics, result
from . import old


def test_committed_schema_is_the_models():
    committed = json.loads((Path(__file__).resolve().parents[3] / "docs" / "report-schema.json").read_text())
    assert committed == schema(), "run: make docs"


def test_numbers_that_json_cannot_hold_become_null():
    point = SearchPoint(lr=0.1, loss=float("inf"), change_ratio=float("nan"), iterations=3, status="diverged")
    assert json.loads(point.model_dump_json())["loss"] is None
    assert json.loads(point.model_dump_json())["change_ratio"] is None


def test_details_that_json_cannot_hold_become_null_and_clear_no_gate(report):
    attack = result(metrics=metrics(details_mean={"psnr": float("nan")}))
    content = json.loads(report.model_copy(update={"attacks": [attack]}).to_json())
    assert content["attacks"][0]["metrics"]["details_mean"] == {"psnr": None}
    again = AuditReport.model_validate(content)
    assert judge(again.attacks, [parse("psnr_mean>100")], IMAGE).status == "inconclusive"


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
        ('{"schema_version": "3.0"}', "3.0"),
        ('{"schema_version": "0.9"}', "0.9"),
        ('{"schema_version": "2.0"}', "not a memaudit report"),
        ('{"schema_version": "1.0"}', "not a memaudit report"),
        ('{"schema_version": "1.x"}', "not a memaudit report"),
        ('{"schema_version": "1.3", "attacks": [3]}', "not a memaudit report"),
        ('{"schema_version": "2.9", "verdict": 3}', "not a memaudit report"),
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


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 310, '"nan"', '"inf"'])
def test_a_number_that_json_does_not_have_is_refused(tmp_path, number):
    content = old.demo()
    content["attacks"][0]["metrics"]["null"][17] = "PLACE"
    (tmp_path / "report.json").write_text(json.dumps(content).replace('"PLACE"', number))
    with pytest.raises(ReportError, match=r"which JSON does not have|a valid number"):
        load(tmp_path)


def test_absent_and_folder(tmp_path):
    with pytest.raises(ReportError, match="does not exist"):
        load(tmp_path)


def test_names_give_way_to_numbers_where_pictures_are_left_out(report):
    report = report.model_copy(update={"attacks": [result(matches=[match(0), match(3)])]})
    text = report.nameless().to_json()
    assert "3.png" not in text
    assert "image 3" in text
    assert "3.png" in report.to_json()


def test_texts_of_records_give_way_too(report):
    said = Text(text="my secret")
    pair = match(0).model_copy(update={"truth": said, "reconstruction": said})
    dummy = Dummy(dummy=0, label=0, influence=1.0, exhibit=said)
    attack = result(matches=[pair], reconstructions=[dummy])
    best = BestMatch(attack="simudy", match=pair)
    shown = report.model_copy(update={"attacks": [attack], "per_record": [best]})
    assert shown.to_json().count("my secret") == 5
    assert "my secret" not in shown.nameless().to_json()
    assert shown.pictures() == set()


def test_where_a_report_lies_is_known_and_no_part_of_it(report, tmp_path):
    assert report.folder is None
    (tmp_path / "report.json").write_text(report.to_json())
    found = load(tmp_path)
    assert found.folder == load(tmp_path / "report.json").folder == tmp_path.absolute()
    assert found == report.sealed()
    assert found.model_copy(update={"seed": 1}).folder == tmp_path.absolute()
    assert found.model_copy(update={"seed": 1}) != found
    assert str(tmp_path) not in found.to_json()
    assert found != "a report"


def test_the_model_is_light():
    code = (
        "import sys; import memaudit.audit.report.file; "
        "sys.exit(bool({'torch', 'numpy', 'scipy', 'PIL', 'skimage'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("value", "kind"), [(3, "size"), (0.5, "linearity"), (["a"], "frozen"), ("sgd", "optimizer")])
def test_readings_have_types_and_absent_ones_are_no_null(value, kind):
    delta = Delta(facts={kind: Fact(value=value, source="inferred")})
    assert delta.facts[kind].value == value
    assert json.loads(delta.model_dump_json())["facts"].keys() == {kind}
    assert Delta.model_validate_json(delta.model_dump_json()) == delta
    assert dict(delta.readings) == {kind: Fact(value=value, source="inferred")}


@pytest.mark.parametrize(("kind", "value"), [("size", "ten"), ("linearity", "x"), ("frozen", 3), ("steps", 2.5)])
def test_a_reading_of_another_type_is_refused(kind, value):
    with pytest.raises(ValidationError):
        Delta(facts={kind: {"value": value, "source": "inferred"}})


def test_a_fact_tells_its_number_or_that_it_has_none():
    assert Fact(value=3, source="given").number == 3
    with pytest.raises(TypeError, match="'sgd' is not a number"):
        _ = Fact(value="sgd", source="given").number


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
