"""What a report says of its records."""

import json
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from memaudit.audit.report.file import load
from memaudit.audit.report.kind import IMAGE, RecordKind
from memaudit.audit.report.model import ReportError

ANY = TypeAdapter(RecordKind)


def test_it_survives_the_round_trip():
    again = ANY.validate_json(ANY.dump_json(IMAGE))
    assert again == IMAGE
    assert hash(again) == hash(IMAGE)


def test_counting():
    words = IMAGE.words
    assert [words.count(n) for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert words.count(1, "more training") == "1 more training image"


@pytest.mark.parametrize(
    "text", ["<b>", "[a](b)", "http://x.org", "www.x.org", "a`b", "*a*", "_a_", "a|b", "{{ 1 }}", "a\nb", "x" * 301]
)
@pytest.mark.parametrize("field", ["many", "scored"])
def test_words_of_a_strangers_report_are_never_markup(text, field, report, tmp_path):
    with pytest.raises(ValueError, match="letters, digits and plain punctuation"):
        replace(IMAGE.words, **{field: text})
    content = json.loads(report.to_json())
    content["kind"]["words"][field] = text
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.raises(ReportError, match="not a memaudit report"):
        load(tmp_path)


@pytest.mark.parametrize("change", [{"stem": "a b"}, {"name": "x>0"}, {"threshold": 1.5}, {"statistic": "<i>"}])
def test_names_and_thresholds_are_sane(change):
    with pytest.raises(ValueError, match=r"threshold|names|words"):
        replace(IMAGE, **change)


def test_decimals_are_few():
    with pytest.raises(ValueError, match="decimals"):
        replace(IMAGE.details[0], digits=10**9)


@pytest.mark.parametrize("name", ["ssim", "psnr"])
def test_no_detail_hides_another_number(name):
    with pytest.raises(ValueError, match="same name"):
        replace(IMAGE, details=(replace(IMAGE.details[0], name=name), IMAGE.details[1]))
