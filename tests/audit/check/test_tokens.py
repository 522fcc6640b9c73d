"""The data check by tokens: exact for the sentences that a model was trained on, silent for others."""

import pytest
import torch

from memaudit.attacks.contract.recipe import Recipe
from memaudit.audit.check.data import Question, check
from memaudit.audit.check.tokens import by_tokens
from memaudit.audit.data.base import TrainingSet
from memaudit.audit.scoring.text import Sentence

from ...hf import encoded, sentences, victim

SGD = Recipe(size=8, lr=0.05, batch_size=8, epochs=5)
SAID = sentences(8)


def told(texts, length):
    records = encoded(texts, length=length)
    names = tuple(map(str, range(len(records))))
    return TrainingSet(records, torch.full((len(records),), -1), names, (), "", False)


@pytest.fixture(scope="module")
def subject():
    return victim(SAID, [k % 2 for k in range(8)], SGD)


def asked(subject, recipe, texts):
    length = subject.shape[0]
    data, control = told(texts, length), told(sentences(60, 5), length)
    return check(Question(subject, recipe, subject.delta, Sentence(subject.medium), data, control))


def test_the_right_sentences_explain_the_change(subject):
    found = asked(subject, SGD, SAID)
    assert found.explained
    assert found.basis == "tokens"
    assert found.unexplained < 1e-6
    assert [part.name for part in found.comparisons] == ["held-out sentences"]


def test_sentences_of_strangers_do_not(subject):
    found = asked(subject, SGD, sentences(8, 9))
    assert not found.explained
    assert found.basis != "tokens"
    assert "the tokenizer beside the weights" in found.reason


def test_a_subset_leaves_what_it_does_not_name(subject):
    measure = by_tokens(subject, encoded(SAID))
    whole, half, others = (measure(encoded(texts)) for texts in (SAID, SAID[:4], sentences(8, 9)))
    assert whole < half < 0
    assert whole < others


def test_nothing_is_said_of_other_records_or_frozen_tables(subject):
    assert by_tokens(subject, torch.rand(2, 3, 4, 4)) is None
    assert by_tokens(subject, encoded(sentences(8, 9))) is None
    frozen = victim(SAID, [k % 2 for k in range(8)], SGD, frozen="embeddings")
    assert by_tokens(frozen, encoded(SAID)) is None
