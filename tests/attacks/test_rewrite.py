"""Sentences rewritten until training simulated on them ends where the real one did."""

from dataclasses import replace

import pytest
import torch

from memaudit.attacks.contract.attack import State, Unsupported
from memaudit.attacks.contract.card import Sight
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.rewrite import LARGEST, Rewrite
from memaudit.audit.run.drive import Budget, drive

from ..hf import encoded, victim

SAID, LABELS = ("the old baker sold a green kettle .", "her violin broke near every quiet bridge !"), (0, 1)
ADAMW = Recipe(size=2, lr=1e-3, batch_size=2, epochs=6, optimizer="adamw", weight_decay=0.01)
ATTACK = Rewrite(iterations=8, few=4, most=16)


@pytest.fixture(scope="module")
def subject():
    return victim(SAID, LABELS, ADAMW)


def truth(subject):
    return encoded(SAID)[:, : subject.shape[0]]


def end_of(subject, ids, labels=LABELS):
    """The end of another attack."""
    return State(9, {"x": subject.medium.encode(ids)}, {"labels": torch.tensor(labels)}, {})


def test_wrong_words_of_a_start_are_put_right(subject):
    ids = truth(subject).clone()
    ids[0, [2, 3]] = ids[0, [3, 2]]
    ids[1, 4] = ids[0, 5]
    outcome = drive(ATTACK, subject, ADAMW, 0, start=end_of(subject, ids, (0, 0)))
    found = outcome.reconstruction
    assert outcome.status == "converged"
    assert {tuple(row) for row in found.records.tolist()} == {tuple(row) for row in truth(subject).tolist()}
    told = dict(zip(map(tuple, found.records.tolist()), found.labels.tolist(), strict=True))
    assert told == dict(zip(map(tuple, truth(subject).tolist()), LABELS, strict=True))
    assert (found.influence > 0).all()


def test_right_sentences_converge_at_once_and_wrong_ones_do_not(subject):
    right = drive(ATTACK, subject, ADAMW, 0, start=end_of(subject, truth(subject)))
    assert right.steps == 1
    assert right.reconstruction.loss < 1e-9
    swapped = truth(subject).clone()
    swapped[0, [2, 3]] = swapped[0, [3, 2]]
    wrong = drive(ATTACK, subject, ADAMW, 0, start=end_of(subject, swapped), budget=Budget(steps=1))
    assert wrong.reconstruction.loss > 10 * ATTACK.tolerance


def test_the_loss_falls_from_sentences_dealt_at_random(subject):
    outcome = drive(ATTACK, subject, ADAMW, 0, budget=Budget(steps=4))
    losses = [loss for _, loss in outcome.curve]
    assert outcome.reconstruction.loss == min(losses) < losses[0] - 0.1


def test_a_start_of_fewer_sentences_is_filled_with_what_it_leaves_out(subject):
    state = ATTACK.init(subject, ADAMW, 0)
    made = ATTACK.started(subject, ADAMW, state, end_of(subject, truth(subject)[:1], (1,)))
    first, second = made.constants["ids"]
    assert torch.equal(first, truth(subject)[0])
    assert set(second.tolist()) == set(truth(subject)[1].tolist())
    assert int(made.constants["labels"][0]) == 1
    more = torch.cat([truth(subject), truth(subject)[:, :].flip(0)])
    assert len(ATTACK.started(subject, ADAMW, state, end_of(subject, more, (0, 1, 1, 0))).constants["ids"]) == 2


def test_known_counts_of_the_classes_stay(subject):
    known = replace(ADAMW, labels=(1, 1))
    ids = truth(subject)
    outcome = drive(ATTACK, subject, known, 0, start=end_of(subject, ids, (0, 0)), budget=Budget(steps=2))
    assert sorted(outcome.state.constants["labels"].tolist()) == [0, 1]


def test_frozen_words_are_refused():
    frozen = victim(SAID, LABELS, ADAMW, frozen="embeddings")
    with pytest.raises(Unsupported, match="word embeddings were not trained"):
        ATTACK.init(frozen, ADAMW, 0)


def test_other_losses_are_refused(subject):
    for known in (replace(ADAMW, loss="mse"), replace(ADAMW, label_smoothing=0.1)):
        with pytest.raises(Unsupported, match="cross-entropy"):
            ATTACK.init(subject, known, 0)


def test_it_joins_where_tokens_reads_parts_only():
    seen = Sight(steps=20, size=4, sharp=False, linearity=None, coverage=1.0, lost=False, legible=True, adaptive=True)
    rule = Rewrite.card.rule
    assert rule(seen)[0]
    assert not rule(replace(seen, legible=False))[0]
    assert not rule(replace(seen, adaptive=False))[0]
    assert not rule(replace(seen, size=LARGEST + 1))[0]
    assert "too slow" in rule(replace(seen, steps=1000))[1]
