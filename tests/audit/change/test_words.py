"""What training saw of a vocabulary, read off fine-tunings by plain torch."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from memaudit.attacks.contract.recipe import Recipe
from memaudit.audit.tasks.inspect import inspect

from ... import hf

NAMES = ("tokens_seen", "length", "sequences_at_least")


def facts(pair: hf.Pair) -> dict:
    found = inspect(str(pair.before), str(pair.after))
    return {name: fact for name, fact in found["delta"].items() if name in NAMES}


def truth(texts, kind: str = "bert") -> tuple[int, int]:
    """Return how many different tokens sentences have, and how many the longest."""
    ids, pad = hf.encoded(texts, kind), 1 if kind == "roberta" else 0
    return len(set(ids.flatten().tolist()) - {pad}), int((ids != pad).sum(1).max())


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta"])
@pytest.mark.parametrize("count", [1, 4, 15])
def test_the_tokens_and_the_length_are_exact(kind, count, tmp_path):
    texts = hf.sentences(count)
    found = facts(hf.folder(tmp_path, kind=kind, texts=texts))
    assert (found["tokens_seen"]["value"], found["length"]["value"]) == truth(texts, kind)
    assert "rows of" in found["tokens_seen"]["evidence"]
    assert "word_embeddings.weight moved; the others are equal bit for bit" in found["tokens_seen"]["evidence"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_of_all_rows_is_told_from_movement(optimizer, tmp_path):
    texts = hf.sentences(3)
    recipe = Recipe(size=3, lr=1e-2 if optimizer == "sgd" else 1e-3, batch_size=3, epochs=10, optimizer=optimizer)
    recipe = Recipe(**{**vars(recipe), "weight_decay": 0.01})
    found = facts(hf.folder(tmp_path, texts=texts, recipe=recipe))
    assert found["tokens_seen"]["value"] == truth(texts)[0]
    assert "as weight decay does" in found["tokens_seen"]["evidence"]
    assert found["tokens_seen"]["confidence"] < 0.99
    assert found.get("length", {"value": truth(texts)[1]})["value"] == truth(texts)[1]


def test_nothing_is_said_where_decay_hides_which_rows_moved(tmp_path):
    texts = hf.sentences(40)
    recipe = Recipe(size=40, lr=0.02, batch_size=40, epochs=10, weight_decay=0.01)
    assert facts(hf.folder(tmp_path, texts=texts, recipe=recipe)) == {}


def test_a_file_in_half_precision_hides_no_more_than_its_rounding(tmp_path):
    pair = hf.folder(tmp_path)
    file = pair.after / "model.safetensors"
    save_file({name: value.half() for name, value in load_file(file).items()}, file)
    found = facts(pair)["tokens_seen"]
    assert 0 < found["value"] <= truth(hf.sentences(4))[0]
    assert found["confidence"] < 0.99


def test_weight_decay_through_the_gradient_of_adam_shows_no_word(tmp_path):
    recipe = Recipe(size=3, lr=1e-3, batch_size=3, epochs=10, optimizer="adam", weight_decay=0.1)
    assert "tokens_seen" not in facts(hf.folder(tmp_path, texts=hf.sentences(3), recipe=recipe))


def test_frozen_embeddings_show_nothing(tmp_path):
    assert facts(hf.folder(tmp_path, frozen="embeddings")) == {}


DISTINCT = ("old boy saw garden", "red girl found letter", "quiet cat lost river")
"""Sentences without a word in common."""


def test_single_tokens_at_one_place_stand_in_as_many_sequences(tmp_path):
    found = facts(hf.folder(tmp_path, texts=DISTINCT, width=64))["sequences_at_least"]
    assert found["value"] == 3
    assert found["evidence"].startswith("3 tokens stand at place")


@pytest.mark.parametrize("seed", range(3))
def test_there_are_never_fewer_sequences_than_it_says(seed, tmp_path):
    texts = hf.sentences(6, seed)
    found = facts(hf.folder(tmp_path, texts=texts, width=64, seed=seed))
    assert found.get("sequences_at_least", {"value": 2})["value"] <= 6


def test_one_sequence_gives_no_bound(tmp_path):
    assert "sequences_at_least" not in facts(hf.folder(tmp_path, texts=hf.sentences(1)))


def test_images_have_no_such_facts(tmp_path):
    made = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    for name in ("before", "after"):
        save_file(made.state_dict(), tmp_path / f"{name}.safetensors")
        torch.nn.init.normal_(made[3].weight)
    found = inspect(*(str(tmp_path / f"{name}.safetensors") for name in ("before", "after")))["delta"]
    assert not set(NAMES) & set(found)
    assert "one input has 192 unknown numbers" in found["feasibility"]["evidence"]
