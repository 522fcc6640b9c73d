import re
from pathlib import Path

import pytest

from memaudit.audit.report.model import AuditReport
from memaudit.audit.trend.compare import diff
from memaudit.audit.trend.model import Diff
from memaudit.reports import diff_json, diff_markdown

from .samples import EVERY
from .test_markdown import tokens, widths


@pytest.mark.parametrize("one", EVERY)
@pytest.mark.parametrize("two", ["leak", "texts", "hostile", "hostile_exposed", "both"])
def test_any_two_reports_give_tables_and_nothing_that_acts(one: str, two: str, request: pytest.FixtureRequest) -> None:
    found = diff(request.getfixturevalue(one), request.getfixturevalue(two)).printable()
    text = diff_markdown.render(found)
    kinds = {token.type for token in tokens(text)}
    assert not kinds & {"html_block", "html_inline", "image", "link_open"}
    assert len(text.encode()) <= diff_markdown.LIMIT
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    assert all(len(set(widths(part))) <= 1 for part in parts)
    assert text.startswith("# ")


def test_it_says_what_changed_and_names_the_records(leak: AuditReport, proven: AuditReport) -> None:
    text = diff_markdown.render(diff(proven, leak))
    assert text.startswith("# PASS to FAIL (high): worse\n\nMA001 is new (high): training images were reconstructed.\n")
    assert "| MA001 Training images were reconstructed | – | high (simudy) | new | **worse** |" in text
    assert "- Newly recovered, 3 images: train/person/astronaut.png, train/cat/chelsea.png" in text


def test_what_has_no_room_is_named(leak: AuditReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff_markdown, "LIMIT", 2100)
    text = diff_markdown.render(diff(leak, leak))
    assert len(text.encode()) <= 2100
    assert "Left out for size: " in text


def test_the_json_is_the_model(hostile: AuditReport, leak: AuditReport, tmp_path: Path) -> None:
    found = diff(hostile, leak)
    path = diff_json.write(found, tmp_path / "x.json")
    assert Diff.model_validate_json(path.read_text()) == found
