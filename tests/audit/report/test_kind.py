"""What a report says of its records."""

import json

import pytest
from pydantic import ValidationError

from memaudit.audit.report.file import load
from memaudit.audit.report.kind import IMAGE, RecordKind
from memaudit.audit.report.model import ReportError


def test_it_survives_the_round_trip():
    assert RecordKind.model_validate_json(IMAGE.model_dump_json()) == IMAGE
    assert hash(IMAGE) == hash(RecordKind.model_validate_json(IMAGE.model_dump_json()))


def test_counting():
    words = IMAGE.words
    assert [words.count(n) for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert words.count(1, "more training") == "1 more training image"


@pytest.mark.parametrize(
    "text", ["<b>", "[a](b)", "http://x.org", "www.x.org", "a`b", "*a*", "_a_", "a|b", "{{ 1 }}", "a\nb", "x" * 301]
)
@pytest.mark.parametrize("field", ["many", "scored"])
def test_words_of_a_strangers_report_are_never_markup(text, field, report, tmp_path):
    with pytest.raises(ValidationError, match="letters, digits and plain punctuation"):
        IMAGE.words.model_validate(IMAGE.words.model_dump() | {field: text})
    content = json.loads(report.to_json())
    content["kind"]["words"][field] = text
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.raises(ReportError, match="not a memaudit report"):
        load(tmp_path)


@pytest.mark.parametrize("change", [{"stem": "a b"}, {"name": "x>0"}, {"threshold": 1.5}, {"statistic": "<i>"}])
def test_names_and_thresholds_are_sane(change):
    with pytest.raises(ValidationError):
        RecordKind.model_validate(IMAGE.model_dump() | change)


def test_decimals_are_few():
    detail = IMAGE.details[0].model_dump()
    with pytest.raises(ValidationError):
        RecordKind.model_validate(IMAGE.model_dump() | {"details": [detail | {"digits": 10**9}]})
