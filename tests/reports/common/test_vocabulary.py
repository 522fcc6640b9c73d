"""Words that training saw, on the page and in Markdown, by what may be shown."""

import pytest

from memaudit.audit.outputs import Look
from memaudit.audit.report.vocabulary import Compared, Vocabulary
from memaudit.audit.verdict.vocabulary import said
from memaudit.reports import html, junit, markdown, sarif
from memaudit.reports.common.vocabulary import statements

from ..parts import finding

HOSTILE = "<script>alert(1)</script>"
FOUND = Vocabulary(
    table="bert.w", seen=103, of=30522, words=["snorkels", HOSTILE, "`|@x"], precision=0.96,
    data=Compared(tokens=110, seen=99, recall=0.9), control=Compared(tokens=500, seen=50, recall=0.1),
)  # fmt: skip


@pytest.fixture(scope="module")
def told(leak):
    return leak.model_copy(
        update={
            "vocabulary": FOUND,
            "findings": [*leak.findings, finding("MA006", "medium", said(FOUND, leak.kind))],
        }
    ).sealed()


def test_the_numbers_are_said(told):
    first, second, third, last = statements(FOUND, told.kind.words)
    assert "103 of the 30,522" in first
    assert "110 different words of the training images it saw 90.0 %" in second
    assert "held-out images it saw 10.0 %" in third
    assert "96.0 %" in last


@pytest.mark.parametrize("evidence", ["full", "blurred", "none"])
def test_what_is_shown_goes_by_the_level_of_evidence(told, folder, evidence):
    page, text = html.render(told, folder, Look(evidence)), markdown.render(told, Look(evidence))
    assert "Words that training saw" in page
    assert "103 of the 30,522" in page
    assert "## Words that training saw" in text
    assert HOSTILE not in page
    assert ("snorkels" in page) is (evidence != "none"), "blurred words are there behind a blur"
    assert ("snorkels" in text) is (evidence == "full")
    assert ("▒▒▒" in text.partition("## Words that training saw")[2]) is (evidence == "blurred")
    assert "snorkels" not in html.render(told, folder, Look(evidence), veiled=True)


def test_a_report_without_them_has_no_such_section(leak, folder):
    assert "Words that training saw" not in html.render(leak, folder)
    assert "Words that training saw" not in markdown.render(leak)


def test_formats_for_machines_have_the_finding_and_no_word(told):
    log = sarif.log(told)
    (result,) = [found for found in log["runs"][0]["results"] if found["ruleId"] == "MA006"]
    assert result["level"] == "warning"
    assert "snorkels" not in str(log)
    cases = [case.get("name") for case in junit.suites(told).iter("testcase")]
    assert sum(name.startswith("MA006") for name in cases) == 1, "it is of the audit, and of no attack"


def test_words_alone_make_a_page_that_enlarges_them(told, folder):
    alone = told.model_copy(update={"attacks": [], "leaderboard": [], "per_record": []})
    assert 'id="viewer"' in html.render(alone, folder)
    assert 'id="viewer"' not in html.render(alone, folder, Look("none"))
