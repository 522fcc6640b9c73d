"""The demonstration with sentences: a network trained on the spot, from which all of them are read."""

import sys

import pytest
import torch
from safetensors.torch import load_file

from memaudit.audit.data.records import DataError
from memaudit.audit.report.file import load
from memaudit.audit.tasks import demo_text
from memaudit.audit.tasks.demo_text import EPOCHS, LR, PRIVATE, PUBLIC, train_sentences, write_sentences

from ...forked import memaudit


def test_ten_private_sentences_and_thirty_others():
    assert len(set(PRIVATE)) == 10
    assert len(set(PUBLIC)) == 30
    assert not set(PRIVATE) & set(PUBLIC)
    assert {len(sentence.split()) for sentence in PRIVATE} == {8}
    assert max(len(sentence.split()) for sentence in PUBLIC) <= 8


def test_files_of_sentences(tmp_path):
    write_sentences(tmp_path / "new")
    lines = (tmp_path / "new" / "private.tsv").read_text().splitlines()
    assert lines == [f"{label}\t{sentence}" for label, sentence in enumerate(PRIVATE)]


def test_the_victim_is_what_plain_torch_makes_of_the_sentences(tmp_path):
    from transformers import AutoModelForSequenceClassification

    before = torch.get_rng_state()
    train_sentences(tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path / "before").eval()
    tokenizer, _ = demo_text._made()
    ids = torch.tensor([tokenizer.encode(sentence).ids for sentence in PRIVATE])
    for _ in range(EPOCHS):
        loss = torch.nn.functional.cross_entropy(network(input_ids=ids).logits, torch.arange(10))
        for value, grad in zip(network.parameters(), torch.autograd.grad(loss, network.parameters()), strict=True):
            value.data -= LR * grad
    after = load_file(tmp_path / "after" / "model.safetensors")
    for name, value in network.state_dict().items():
        assert torch.allclose(value, after[name], atol=1e-6)


def test_without_the_libraries_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DataError, match="needs the libraries transformers and tokenizers") as refusal:
        train_sentences(tmp_path)
    assert "[text]" in refusal.value.hint


@pytest.mark.slow
def test_all_ten_are_rebuilt_word_for_word(tmp_path):
    libraries = ("rouge_score.rouge_scorer", "transformers.models.bert.modeling_bert")
    run = memaudit("demo", "--text", "--out", tmp_path, load=libraries)
    assert run.returncode == 0, run.stderr
    assert "FAIL" in run.stdout
    assert "rebuilt 10 of 10 private sentences" in run.stdout
    report = load(tmp_path / "run" / "report.json")
    (attack,) = report.attacks
    assert (attack.name, attack.metrics.recovered) == ("tokens", 10)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert all(sentence.split()[2] in page for sentence in PRIVATE)
