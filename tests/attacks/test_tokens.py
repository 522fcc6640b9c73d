"""Sentences read off the change of a small BERT."""

from contextlib import suppress

import pytest

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.text.reading import read
from memaudit.attacks.text.tables import tables
from memaudit.attacks.tokens import Tokens

from ..hf import encoded, sentences, victim

SAID = (
    "the old baker sold a green kettle .",
    "her violin broke near every quiet bridge !",
    "my dog often followed his young sailor ?",
)
LABELS = (0, 1, 2)
SGD = Recipe(size=3, lr=0.02, batch_size=3, epochs=10)
ADAMW = Recipe(size=3, lr=1e-4, batch_size=3, epochs=10, optimizer="adamw", weight_decay=0.01)


def attacked(subject, recipe):
    attack = Tokens()
    state = attack.init(subject, recipe, 0)
    while not state.done:
        state = attack.step(subject, recipe, state)
    return state, attack.finish(subject, recipe, state)


def rows(ids, subject):
    """The sentences (n, L) as sets of numbers, and whole."""
    return {tuple(row) for row in ids[:, : subject.shape[0]].tolist()}


@pytest.fixture(scope="module")
def three():
    subject = victim(SAID, LABELS, SGD, width=64, classes=3)
    return subject, *attacked(subject, SGD)


def test_every_sentence_is_rebuilt_word_for_word(three):
    subject, _, found = three
    assert rows(found.records, subject) == rows(encoded(SAID), subject)
    assert found.loss < 0.1


def test_labels_are_those_of_the_sentences(three):
    subject, _, found = three
    truth = {
        tuple(row): label for row, label in zip(encoded(SAID)[:, : subject.shape[0]].tolist(), LABELS, strict=True)
    }
    told = {tuple(row): label for row, label in zip(found.records.tolist(), found.labels.tolist(), strict=True)}
    assert told == truth


def test_the_tokens_read_are_exactly_those_of_training(three):
    _, state, _ = three
    assert set(state.constants["tokens"].tolist()) == set(encoded(SAID).flatten().tolist()) - {0}


@pytest.mark.parametrize("epochs", [1, 20])
def test_one_sentence_by_one_step_and_by_twenty(epochs):
    recipe = Recipe(size=1, lr=0.02, batch_size=1, epochs=epochs)
    subject = victim(SAID[:1], [1], recipe, width=64)
    state, found = attacked(subject, recipe)
    assert rows(found.records, subject) == rows(encoded(SAID[:1]), subject)
    assert state.step == 1, "what was read in closed form is not searched again"


def test_sentences_never_seen_share_no_more_than_common_words(three):
    _, state, _ = three
    seen = set(state.constants["tokens"].tolist())
    for ids in encoded(sentences(30, 3)).tolist():
        assert not set(ids) - {0} <= seen


def test_under_adamw_the_words_are_exact_and_what_cannot_be_begun_is_refused():
    subject = victim(SAID, LABELS, ADAMW, width=64, classes=3)
    words = read(subject, tables(subject), True).tokens.tolist()
    assert set(words) == set(encoded(SAID).flatten().tolist()) - {0}
    with suppress(Unsupported):
        _, found = attacked(subject, ADAMW)
        assert {*found.records.flatten().tolist()} <= {0, *words}


def test_a_table_that_was_not_trained_is_read_elsewhere_or_refused_with_the_reason():
    subject = victim(SAID, LABELS, SGD, width=64, classes=3, frozen="bert")
    with pytest.raises(Unsupported) as refusal:
        Tokens().init(subject, SGD, 0)
    assert "train" in refusal.value.message


def test_more_words_than_a_layer_tells_apart_are_refused_with_the_reason():
    subject = victim(sentences(30, 3), [k % 2 for k in range(30)], SGD, width=32)
    with pytest.raises(Unsupported, match=r"training saw \d+ different tokens"):
        Tokens().init(subject, SGD, 0)
