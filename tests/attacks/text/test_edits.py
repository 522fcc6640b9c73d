"""Edits of sentences: which there are, and what they make."""

import torch

from memaudit.attacks.text.edits import Edit, Promises, content, sentence

from ...hf import WORDS, tokenizer
from ...texts import medium

MEDIUM = medium(tokenizer(), 8)
A, B, C, D, E = range(10, 15)
IDS = torch.stack([sentence(MEDIUM, row) for row in ([A, B, C], [D, E])])


def promises(**wanted):
    gains = torch.full((2, 8, len(WORDS)), -1.0)
    for spot, gain in wanted.values():
        gains[spot] = gain
    return Promises(MEDIUM, IDS, gains)


def contents(ids):
    return [content(MEDIUM, row) for row in ids]


def test_a_sentence_has_its_ends_and_no_more_than_it_has_room_for():
    assert IDS[0].tolist() == [MEDIUM.first, A, B, C, MEDIUM.last, *[MEDIUM.pad] * 3]
    assert content(MEDIUM, IDS[0]) == [A, B, C]
    assert content(MEDIUM, sentence(MEDIUM, range(10, 30))) == list(range(10, 16))


def test_edits_make_new_sentences_and_leave_the_old_ones():
    before, labels = IDS.clone(), torch.tensor([0, 1])
    ids, _ = Edit(((0, 1, D), (1, 2, A))).made(IDS, labels)
    assert contents(ids) == [[D, B, C], [D, A]]
    _, changed = Edit(labels={1: 0}).made(IDS, labels)
    assert changed.tolist() == [0, 0]
    assert torch.equal(IDS, before)
    assert labels.tolist() == [0, 1]


def test_edits_of_one_place_or_of_a_whole_sentence_meet():
    one, two, whole = Edit(((0, 1, D),)), Edit(((0, 2, D),)), Edit(rows={0: IDS[1]})
    assert one.meets(one)
    assert not one.meets(two)
    assert whole.meets(one)
    assert not whole.meets(Edit(labels={1: 1}))


def test_the_token_that_promises_most_comes_first():
    found = promises(best=((1, 2, 20), 3.0), second=((0, 1, 21), 2.0)).all(few=0, most=16)
    assert [edit.puts for edit in found[:2]] == [((1, 2, 20),), ((0, 1, 21),)]


def test_two_tokens_are_exchanged_where_both_promise():
    made = promises(one=((0, 1, D), 3.0), two=((1, 1, A), 3.0))
    gain, edit = max(made.exchanges(), key=lambda pair: pair[0])
    assert gain == 6
    assert contents(edit.made(IDS, torch.zeros(2))[0]) == [[D, B, C], [A, E]]


def test_sentences_become_shorter_and_longer_move_and_cross():
    made, labels = promises(more=((0, 3, 22), 5.0)), torch.zeros(2)

    def all_of(sort):
        return [contents(edit.made(IDS, labels)[0]) for _, edit in sort]

    assert [[A, C], [D, E]] in all_of(made.shorter())
    assert [[A, B, C, 22], [D, E]] in all_of(made.longer())
    assert [[C, A, B], [D, E]] in all_of(made.moved())
    assert [[A, E], [D, B, C]] in all_of(made.crossed())
    assert all(len(rows[0]) > 0 for rows in all_of(made.shorter()))
