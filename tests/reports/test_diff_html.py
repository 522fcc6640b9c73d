import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from memaudit.audit.report.model import AuditReport
from memaudit.audit.trend.compare import diff
from memaudit.reports import diff_html

from .samples import EVERY, HOSTILE


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("one", EVERY)
@pytest.mark.parametrize("two", ["leak", "hostile", "hostile_exposed", "both"])
def test_any_two_reports_give_a_page_that_does_nothing(one: str, two: str, request: pytest.FixtureRequest) -> None:
    text = diff_html.render(diff(request.getfixturevalue(one), request.getfixturevalue(two)).printable())
    seen = Tags()
    seen.feed(text)
    assert not {"script", "img", "iframe", "form", "object"} & set(seen.tags)
    assert not {name for name in seen.attributes if name.startswith("on") or name == "style"}
    assert not any(mark in text for mark in HOSTILE[:3])
    assert not re.search(r"https?://", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "script-src" not in policy[1]


def test_the_change_is_the_heading(leak: AuditReport, silent: AuditReport, tmp_path: Path) -> None:
    text = diff_html.write(diff(leak, silent), tmp_path / "x.html").read_text()
    assert '<h1 id="headline">Cannot be told</h1>' in text
    assert "FAIL (high) to INCONCLUSIVE" in text
    assert '<article class="verdict card inconclusive"' in text
