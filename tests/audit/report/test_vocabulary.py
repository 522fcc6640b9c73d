"""The section of a report on words: in the file, without the words, and absent."""

from memaudit.audit.report.file import load
from memaudit.audit.report.vocabulary import Compared, Vocabulary

FOUND = Vocabulary(
    table="bert.w", seen=2, of=80, words=["snorkels", "garden"], precision=1.0,
    data=Compared(tokens=3, seen=2, recall=2 / 3), control=Compared(tokens=0, seen=0, recall=None),
)  # fmt: skip


def test_it_comes_back_from_the_file(report, tmp_path):
    whole = report.model_copy(update={"vocabulary": FOUND})
    (tmp_path / "report.json").write_text(whole.to_json())
    assert load(tmp_path).vocabulary == FOUND


def test_a_report_of_a_version_without_it_has_none(report, tmp_path):
    import json

    content = json.loads(report.to_json())
    del content["vocabulary"]
    (tmp_path / "report.json").write_text(json.dumps(content | {"schema_version": "2.1", "content_sha256": ""}))
    assert load(tmp_path).vocabulary is None


def test_without_evidence_the_words_go_and_the_numbers_stay(report):
    bare = report.model_copy(update={"vocabulary": FOUND}).nameless()
    assert bare.vocabulary == FOUND.model_copy(update={"words": []})
    assert "snorkels" not in bare.to_json()
    assert report.nameless().vocabulary is None
