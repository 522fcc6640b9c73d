"""How much it tells which words training saw; a stranger's corpus is never said to be what it saw."""

import pytest

from memaudit.audit.report.kind import TEXT
from memaudit.audit.report.vocabulary import Compared, Vocabulary
from memaudit.audit.verdict.findings import findings
from memaudit.audit.verdict.rules import RULES
from memaudit.audit.verdict.vocabulary import beyond_chance, said, severity

from .test_findings import seen


def compared(recall, tokens=1000):
    return None if recall is None else Compared(tokens=tokens, seen=round(recall * tokens), recall=recall)


def vocabulary(recall=None, control=None, precision=None, number=3000, of=30522):
    return Vocabulary(
        table="w", seen=number, of=of, data=compared(recall), control=compared(control), precision=precision
    )


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        (vocabulary(), "low", "which words training saw: 3,000 of the 30,522 that the model knows."),
        (vocabulary(1.0, 0.5, 1.0), "medium", "training saw 100 %, of sentences that were not trained on 50 %"),
        (vocabulary(1.0, None, 1.0), "medium", "Without --control it is not known"),
        (vocabulary(1.0, None, 1.0, 25000), "low", "Without --control"),
        (vocabulary(0.52, 0.5, 0.4), "low", "about as many as of sentences that were not trained on (50 %)"),
        (vocabulary(0.97, 0.96, 0.97, 28000), "low", "about as many as"),
        (vocabulary(1.0, 1.0, 1.0), "low", "that says nothing of --data"),
        (vocabulary(1.0, 0.5, 0.3), "low", "30 % of all that it saw are in --data"),
        (vocabulary(0.7, 0.5, 0.95), "low", "about as many as"),
    ],
    ids=["blind", "exact", "no-control", "nearly-all", "strangers", "saturated", "all", "part", "some"],
)
def test_words_are_read_exactly_only_where_other_words_are_not(found, expected, words):
    assert severity(found) == expected
    assert words in said(found, TEXT)
    assert not (expected == "medium" and beyond_chance(found) is False)


def test_it_is_a_finding_of_the_audit(report):
    told = report.model_copy(update={"vocabulary": vocabulary(1.0, 0.5, 1.0)})
    (found,) = [finding for finding in findings(seen(told)) if finding.rule == "MA006"]
    assert (found.severity, found.attack, found.blocks, found.leaks) == ("medium", "", False, True)
    assert found.severity in RULES["MA006"].severities
    assert not any(f.rule == "MA006" for f in findings(seen(report)))
    nothing = report.model_copy(update={"vocabulary": vocabulary(number=0)})
    assert not any(f.rule == "MA006" for f in findings(seen(nothing)))
