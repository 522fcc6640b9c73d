import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from memaudit.attacks.images.medium import Images
from memaudit.audit.data.base import DataError
from memaudit.audit.data.opening import open_source
from memaudit.audit.data.text import RawText, TextSource

from ...texts import COLA, byte_level, medium, minilm, needs_data, wordpiece

MEDIUM = medium()


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "few.tsv").write_text("yes\tThe boy ran.\nno\tWho has my snorkels, old girl?\n")
    return f"text:{tmp_path / 'few.tsv'}"


def test_sentences_become_token_numbers_with_their_special_ones(spec):
    data = open_source(spec, medium=MEDIUM)
    words = MEDIUM.tokenizer
    assert (data.records.dtype, data.records.shape) == (torch.int64, (2, 12))
    tokenizer = wordpiece()
    assert tokenizer.to_str() == words
    tokens = [[tokenizer.id_to_token(number) for number in row] for row in data.records.tolist()]
    assert tokens[0] == ["[CLS]", "the", "boy", "ran", ".", "[SEP]", *["[PAD]"] * 6]
    assert tokens[1] == ["[CLS]", "who", "has", "my", "snor", "##kel", "##s", ",", "old", "girl", "?", "[SEP]"]
    assert data.labels.tolist() == [1, 0]
    assert data.class_names == ("no", "yes")
    assert data.names == ("few.tsv:1", "few.tsv:2")
    assert (data.resized, data.warnings, data.readings, data.reading) == (False, (), (), "")


def test_a_long_sentence_is_cut_before_its_last_token_and_told(spec):
    data = open_source(spec, medium=medium(length=6))
    assert data.records[:, -1].tolist() == [3, 3]
    assert data.resized
    assert data.warnings == (
        f"1 of 2 sentences of {spec!r} hold more than the 6 tokens that the network sees, and are cut there.",
    )


@pytest.mark.parametrize(("known", "warned"), [("the boy ran", False), ("the boy qq", False), ("the qq zz", True)])
def test_a_tokenizer_that_knows_less_than_half_of_the_tokens_does_not_fit(tmp_path, known, warned):
    (tmp_path / "a.txt").write_text(f"{known}\n")
    spec = f"text:{tmp_path / 'a.txt'}"
    told = f"More than half of the tokens of {spec!r} are unknown to the tokenizer beside the weights: it does not fit "
    assert open_source(spec, medium=MEDIUM).warnings == (f"{told}these texts.",) * warned


def test_the_unknown_token_of_a_list_of_pieces_is_told_by_its_number(tmp_path):
    pieces = models.Unigram([("<pad>", 0.0), ("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("a", -1.0)], 1)
    (tmp_path / "a.txt").write_text("a b c d e f\n")
    made = Tokenizer(pieces)
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found = open_source(f"text:{tmp_path / 'a.txt'}", medium=medium(made))
    assert "does not fit" in found.warnings[0]


def test_a_byte_level_tokenizer_reads_any_text(tmp_path):
    (tmp_path / "a.txt").write_text("a cat ran é 猫\n")
    tokens = medium(byte_level(), 24)
    (record,) = open_source(f"text:{tmp_path / 'a.txt'}", medium=tokens).records
    assert (int(record[0]), int(record[-1])) == (0, 1)
    assert byte_level().decode(record.tolist()) == "a cat ran é 猫"


def test_a_tokenizer_that_cuts_and_pads_by_itself_changes_nothing(spec):
    own = wordpiece()
    own.enable_truncation(3)
    own.enable_padding(length=40)
    assert torch.equal(open_source(spec, medium=medium(own)).records, open_source(spec, medium=MEDIUM).records)


def test_the_digest_tells_sentences_and_labels_apart(spec, tmp_path):
    one = open_source(spec, medium=MEDIUM).digest
    assert one == open_source(spec, medium=MEDIUM).digest
    (tmp_path / "other.tsv").write_text("no\tThe boy ran.\nyes\tWho has my snorkels, old girl?\n")
    assert open_source(f"text:{tmp_path / 'other.tsv'}", medium=MEDIUM).digest != one


def test_the_column_is_named_behind_a_mark_which_a_file_may_hold_too(tmp_path):
    (tmp_path / "a#b.csv").write_text("text,other\nthe cat,the dog\n")
    place = f"text:{tmp_path / 'a#b.csv'}"
    first, second = open_source(place, medium=MEDIUM), open_source(f"{place}#other", medium=MEDIUM)
    assert [data.records[0, 2].item() for data in (first, second)] == [8, 9]


def test_kinds_are_not_mixed_up(spec, tmp_path):
    for seen in (None, Images()):
        with pytest.raises(DataError, match=r"few.tsv' holds sentences, and the records .* are of the kind 'image'"):
            open_source(spec, (3, 8, 8), medium=seen)
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(DataError, match=r"a.npz' holds images, and the records .* are of the kind 'text'"):
        open_source(str(tmp_path / "a.npz"), medium=MEDIUM)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tokenizer": ""}, "No tokenizer came with the model"),
        ({"tokenizer": "{"}, "tokenizer.json cannot be used: "),
        ({"tokenizer": '{"model": {"type": "Odd"}}'}, "tokenizer.json cannot be used: "),
        ({"length": 2}, "The network sees 2 tokens, and 2 of each sentence are special ones"),
        ({"table": torch.zeros(9, 4)}, "gives token 26, and the network knows 9 tokens"),
        ({"length": 2**30}, "holds too many sentences"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_one_clear_error(change, told, spec):
    with pytest.raises(DataError, match=told) as caught:
        open_source(spec, medium=replace(MEDIUM, **change))
    assert "\n" not in str(caught.value)


def test_without_the_library_the_extra_is_named(spec, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError, match=r"pip install '\.\[text\]'"):
        open_source(spec, medium=MEDIUM)


@pytest.mark.parametrize("place", ["", "#", "none.txt", "a\0b", "x" * 5000, "none.csv#text"])
def test_a_place_without_a_file_is_one_clear_error(place):
    assert TextSource().accepts(f"text:{place}")
    with pytest.raises(DataError, match="cannot be read"):
        TextSource().open(f"text:{place}")


def test_sentences_of_unknown_words_are_kept():
    (record,) = RawText(("xyzzy",), (0,), ("a",)).assembled("text:a", medium=MEDIUM).records
    assert record[:4].tolist() == [2, 1, 3, 0]
    without = replace(MEDIUM, tokenizer=MEDIUM.tokenizer.replace('"unk_token":"[UNK]"', '"unk_token":"none"'))
    with pytest.raises(DataError, match=r"tokenizer.json cannot be used: .*Missing"):
        RawText(("xyzzy",), (0,), ("a",)).assembled("text:a", medium=without)


@needs_data
def test_real_sentences_and_a_real_vocabulary():
    data = open_source(f"text:{COLA}", medium=minilm())
    assert len(data.records) == 1000
    assert set(data.labels.tolist()) == {0, 1}
    assert data.warnings == ()
    assert (data.records[:, 0] == 101).all()
    assert (data.records == 102).sum(1).tolist() == [1] * 1000
    assert (data.records == 100).sum() == 0
