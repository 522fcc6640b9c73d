"""Tokens and their places, read off the change of the tables."""

import pytest

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.text.reading import placed, read
from memaudit.attacks.text.tables import tables

from ...hf import encoded, victim

SAID = (
    "the old baker sold a green kettle .",
    "her violin broke near every quiet bridge !",
    "my dog often followed his young sailor ?",
)
SGD = Recipe(size=3, lr=0.02, batch_size=3, epochs=10)


@pytest.mark.parametrize("epochs", [1, 10])
def test_tokens_and_places_are_exact_under_sgd(epochs):
    recipe = Recipe(size=3, lr=0.02, batch_size=3, epochs=epochs)
    subject = victim(SAID, (0, 1, 2), recipe, width=64, classes=3)
    found = read(subject, tables(subject), False)
    ids = encoded(SAID)
    assert set(found.tokens.tolist()) == set(ids.flatten().tolist()) - {0}
    for token, place in zip(found.tokens.tolist(), found.places.tolist(), strict=True):
        assert place < 0 or bool((ids[:, place] == token).any())
    assert int((found.places >= 0).sum()) >= 20


def test_batches_change_nothing():
    recipe = Recipe(size=3, lr=0.02, batch_size=1, epochs=3)
    subject = victim(SAID, (0, 1, 2), recipe, width=64, classes=3)
    found = read(subject, tables(subject), False)
    assert set(found.tokens.tolist()) == set(encoded(SAID).flatten().tolist()) - {0}
    assert len(placed(subject, tables(subject))) == 10


def test_no_trained_table_shows_nothing():
    subject = victim(SAID, (0, 1, 2), SGD, classes=3, frozen="embeddings")
    found = tables(subject)
    assert read(subject, found, False) is None
    assert placed(subject, found) is None


def test_bytes_as_tokens():
    said = ("the cat run", "cat the bat")
    subject = victim(said, (0, 1), Recipe(size=2, lr=0.02, batch_size=2, epochs=3), kind="roberta")
    found = read(subject, tables(subject), False)
    assert set(found.tokens.tolist()) == set(encoded(said, "roberta").flatten().tolist()) - {1}
