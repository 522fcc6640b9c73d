from dataclasses import replace

import pytest
import torch

from memaudit.audit.data.text import tokenised, tokenizer_of
from memaudit.audit.scoring.spelling import Spelling

from ...texts import byte_level, medium, wordpiece


def spelling(tokens):
    return Spelling(tokens, tokenizer_of(tokens) if tokens.tokenizer else None)


def read(text, tokens):
    return tokenised([text], tokens, tokenizer_of(tokens))[0][0]


def test_text_is_without_special_tokens_but_shows_the_unknown_one():
    tokens = medium(wordpiece(), 16)
    record = read("The old boy saw my snorkels, xyzzy.", tokens)
    spelt = spelling(tokens)
    assert spelt.text(record) == "the old boy saw my snorkels, [UNK]."
    assert len(spelt.tokens(record)) == 11
    assert spelt.text(torch.tensor([0, 2, 4, 5, 0, 6, 3, 0])) == "the boy"
    assert spelt.text(torch.zeros(12)) == ""


@pytest.mark.parametrize("make", [wordpiece, byte_level])
def test_words_become_a_record_that_spells_them(make):
    tokens = medium(make(), 40)
    spelt = spelling(tokens)
    record = read("The old boy saw my snorkels, girl!", tokens)
    assert spelt.words(record) == ("the", "old", "boy", "saw", "my", "snorkels", "girl")
    back = spelt.records([spelt.words(record)[::-1], ()])
    assert spelt.text(back[0]) == "girl snorkels my saw boy old the"
    assert spelt.tokens(back[1]) == []
    assert spelt.records([]).shape == (0, 40)


def test_without_a_tokenizer_words_are_numbers():
    tokens = replace(medium(), tokenizer="", first=-1, last=-1)
    spelt = spelling(tokens)
    (record,) = spelt.records([("7", "5", "9")])
    assert record.tolist() == [7, 5, 9, *[0] * 9]
    assert spelt.text(record) == "7 5 9"
    assert spelt.records([("7",) * 40]).shape == (1, 12)
