"""What the inputs of a sentence classifier stand for."""

import json
from dataclasses import replace

import pytest
import torch

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.families.base import UnknownArchitecture
from memaudit.audit.families.beside import read_beside
from memaudit.audit.families.detect import detect
from memaudit.audit.families.media import LENGTH, medium_of

from ...hf import encoded, folder, sentences


def read(found, beside=None):
    pair = read_pair(found.before, found.after)
    beside = beside or read_beside(str(found.after), str(found.before))
    architecture, module = detect(pair.after.tensors, beside=beside)
    return *medium_of(pair, architecture, module, beside, Normalisation((), ())), pair


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("bert"))


def test_sentences_as_long_as_training_reached(bert):
    architecture, medium, pair = read(bert)
    longest = int((encoded(sentences(4)) != 0).sum(1).max())
    assert architecture.shape == (longest, 32)
    assert LENGTH not in architecture.assumed
    assert (medium.length, medium.pad, medium.first, medium.last) == (longest, 0, 2, 3)
    assert torch.equal(medium.table, pair.before.tensors["bert.embeddings.word_embeddings.weight"])
    assert len(medium.digest) == 16


@pytest.mark.parametrize("kind", ["distilbert", "roberta", "electra"])
def test_other_kinds(tmp_path, kind):
    found = folder(tmp_path, kind=kind)
    architecture, medium, _ = read(found)
    pad = 1 if kind == "roberta" else 0
    longest = min(int((encoded(sentences(4), kind) != pad).sum(1).max()), 16)
    assert architecture.shape == (longest, 32)
    assert (medium.pad, medium.first, medium.last) == ((1, 0, 2) if kind == "roberta" else (0, 2, 3))


def test_frozen_places_show_no_length(tmp_path):
    architecture, medium, _ = read(folder(tmp_path, frozen="embeddings"))
    assert LENGTH in architecture.assumed
    assert architecture.shape == (16, 32)
    assert medium.length == 16


def test_weight_decay_hides_no_length(tmp_path):
    recipe = Recipe(size=4, lr=1e-3, batch_size=4, epochs=10, optimizer="adamw", weight_decay=0.01)
    architecture, _, _ = read(folder(tmp_path, texts=["the cat .", "a boy .", "the dog .", "my lamp ."], recipe=recipe))
    assert architecture.shape == (5, 32)


def test_a_tokenizer_that_pads_all_texts_still_shows_their_ends(bert):
    beside = read_beside(str(bert.after))
    made = json.loads(dict(beside.files)["tokenizer.json"])
    made["padding"] = {
        "strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    _, medium, _ = read(bert, replace(beside, files=(("tokenizer.json", json.dumps(made)),)))
    assert (medium.first, medium.last) == (2, 3)


def test_no_tokenizer(bert):
    with pytest.raises(UnknownArchitecture, match="No tokenizer lies beside"):
        read(bert, replace(read_beside(str(bert.after)), files=()))
