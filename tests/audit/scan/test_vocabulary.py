"""Words that training saw in scans of small models: against the data, held-out sentences and a stranger's corpus."""

import pytest

from memaudit.attacks.contract.recipe import Recipe
from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.pipeline import scan
from memaudit.audit.scan.scene import load

from ... import hf


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return hf.folder(tmp_path_factory.mktemp("words"), texts=hf.sentences(4))


def spec(path):
    return f"text:{path}"


def words(texts, kind="bert"):
    """Return the tokens of sentences by descending number, as the tokenizer spells them."""
    made = hf.tokenizer(kind)
    numbers = {number for text in texts for number in made.encode(text, add_special_tokens=False).ids}
    return [made.decode([number]).strip() for number in sorted(numbers, reverse=True)]


def test_the_words_are_those_of_the_data(pair):
    found = load(ScanRequest(pair.before, pair.after, data=spec(pair.data), control=spec(pair.control))).vocabulary
    assert found.words == words(hf.sentences(4))
    assert (found.seen, found.of, found.precision) == (len(found.words), len(hf.WORDS) - 4, 1.0)
    assert (found.data.tokens, found.data.recall) == (found.seen, 1.0)
    assert found.control.recall < 0.6
    assert found.table == "bert.embeddings.word_embeddings.weight"


def test_bytes_and_adam_with_weight_decay(tmp_path):
    recipe = Recipe(size=3, lr=1e-3, batch_size=3, epochs=5, optimizer="adamw", weight_decay=0.01)
    texts = ("the cat ran", "a dog", "the éléphant")
    made = hf.folder(tmp_path, kind="roberta", texts=texts, labels=(0, 1, 0), recipe=recipe)
    found = load(ScanRequest(made.before, made.after, data=spec(made.data))).vocabulary
    assert (found.data.recall, found.precision) == (1.0, 1.0)
    assert {"cat", "a"} <= set(found.words)
    assert all(word and "\ufffd" not in word for word in found.words)


def test_no_word_is_kept_without_evidence_or_seen_in_frozen_embeddings(pair, tmp_path):
    bare = load(ScanRequest(pair.before, pair.after, data=spec(pair.data), evidence="none")).vocabulary
    assert bare.words == []
    assert bare.data.recall == 1.0
    frozen = hf.folder(tmp_path, frozen="embeddings")
    assert load(ScanRequest(frozen.before, frozen.after)).vocabulary is None


@pytest.mark.parametrize("own", [True, False])
def test_a_scan_reports_them_and_never_a_strangers_corpus(own, pair, tmp_path):
    strangers = tmp_path / "others.tsv"
    lines = pair.control.read_text().splitlines(keepends=True)
    strangers.write_text("".join(lines[:4]))
    held_out = tmp_path / "held-out.tsv"
    held_out.write_text("".join(lines[4:]))
    data = pair.data if own else strangers
    report = scan(
        ScanRequest(pair.before, pair.after, data=spec(data), control=spec(held_out), lr=0.05, epochs=20,
                    attacks=("tokens",), max_iterations=2, power="off", out=tmp_path / "run")
    )  # fmt: skip
    (found,) = [finding for finding in report.findings if finding.rule == "MA006"]
    assert found.severity == ("medium" if own else "low")
    if own:
        assert "Of the words of --data training saw 100 %" in found.message
    else:
        assert "about as many as of sentences that were not trained on" in found.message
        assert report.verdict.status == "inconclusive"
    assert "Words that training saw" in (tmp_path / "run" / "report.html").read_text()
