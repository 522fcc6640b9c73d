"""All that was read, explained by sentences; one more of them; several places filled anew. Of a small BERT."""

import pytest
import torch

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.text.adding import one_more
from memaudit.attacks.text.refilling import refilled
from memaudit.attacks.tokens import FRAGMENT, Tokens, _remembered

from ...hf import encoded, victim

SAID = (
    "the old dog saw the young dog near the old bridge .",
    "her violin broke near every quiet bridge !",
    "my dog often followed his young sailor ?",
    "her sailor often followed the quiet dog .",
)
SGD = Recipe(size=4, lr=0.02, batch_size=4, epochs=10)


@pytest.fixture(scope="module")
def seen():
    """What was read of four sentences, these sentences (n, L), and their classes."""
    subject = victim(SAID, [0, 1, 0, 1], SGD, width=64)
    whole = _remembered(subject, SGD, Tokens().init(subject, SGD, 0))
    ids = encoded(SAID)[:, : subject.shape[0]]
    return whole, ids, whole.middle.fit(ids).labels


def test_the_true_sentences_explain_all_but_what_changes_on_the_way(seen):
    whole, ids, labels = seen
    added, left = whole.explained(whole.parts(ids, labels))
    assert left < 0.05
    assert torch.allclose(whole.besides(added)[0] + added[1:].sum(0), whole.target.flatten())
    assert float(whole.lefts(whole.parts(ids, labels), whole.parts(ids, labels)[:1], [{}])[0]) == pytest.approx(
        left, rel=1e-3
    )


def test_giving_way_to_another_sentence_leaves_what_those_leave(seen):
    whole, ids, labels = seen
    parts, other = whole.parts(ids, labels), whole.parts(ids[:1].roll(1, 1), labels[:1])
    changed = whole.explained(torch.cat([parts[:1], other, parts[2:]]))[1]
    assert float(whole.lefts(parts, other, [{1: 0}])[0]) == pytest.approx(changed, rel=1e-3)


@pytest.mark.parametrize("missing", range(4))
def test_one_sentence_more_explains_much_where_one_is_missing_and_little_where_none_is(seen, missing):
    whole, ids, labels = seen
    kept = [k for k in range(4) if k != missing]
    row, label, gain = one_more(whole, ids[kept], labels[kept])
    assert gain > FRAGMENT / 3
    assert one_more(whole, ids, labels)[2] < 0.2 * gain
    assert row.shape == ids[0].shape
    assert label in (0, 1)
    before = whole.halfway.explained(whole.halfway.parts(ids[kept], labels[kept]))[1]
    after = whole.halfway.parts(torch.cat([ids[kept], row[None]]), torch.cat([labels[kept], torch.tensor([label])]))
    assert before - whole.halfway.explained(after)[1] == pytest.approx(gain, abs=1e-6)


def test_several_wrong_tokens_at_once_are_filled_anew(seen):
    whole, ids, labels = seen
    free = ~whole.middle.stands(ids)[0] & (ids[0] != whole.middle.pad) & (ids[0] != whole.middle.last)
    free[0] = False
    places = free.nonzero().flatten()[:4]
    wrong = ids.clone()
    wrong[0, places] = wrong[3, 1]
    added, left = whole.explained(whole.parts(wrong, labels))
    edits = refilled(whole, wrong, labels, whole.besides(added), whole.middle.able().expand(4, -1, -1))
    assert all(len(edit.touched) == 1 for edit in edits)
    lefts = [whole.explained(whole.parts(edit.made(wrong, labels)[0], labels))[1] for edit in edits]
    assert min(lefts) < 0.5 * left
    sure = whole.middle.stands(wrong)
    assert all(torch.equal(edit.made(wrong, labels)[0][sure], wrong[sure]) for edit in edits)
