"""Training replayed along a course: right of the right sentences, and lower for them than for others."""

import pytest
import torch

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.text.reading import read
from memaudit.attacks.text.replay import Replay, simulated
from memaudit.attacks.text.tables import tables
from memaudit.attacks.text.watch import Watch, narrowed

from ...hf import encoded, victim

SAID, LABELS = ("the old baker sold a green kettle .", "her violin broke near every quiet bridge !"), (0, 1)
RECIPES = {
    "sgd": Recipe(size=2, lr=0.05, batch_size=2, epochs=6, momentum=0.5),
    "adamw": Recipe(size=2, lr=1e-3, batch_size=2, epochs=6, optimizer="adamw", weight_decay=0.01),
}


@pytest.fixture(scope="module", params=RECIPES)
def case(request):
    """A replay along the course of wrong sentences, those, and the right ones."""
    recipe = RECIPES[request.param]
    subject = victim(SAID, LABELS, recipe)
    found = tables(subject)
    small = narrowed(subject, found, read(subject, found, recipe.optimizer != "sgd").tokens)
    truth, labels = small.numbers(encoded(SAID)[:, : subject.shape[0]]), torch.tensor(LABELS)
    wrong = truth.clone()
    wrong[0, 3] = truth[1, 2]
    plan = torch.arange(2)[None].repeat(recipe.epochs, 1)

    def replay(ids, count=2 * recipe.epochs):
        course = simulated(small.victim, recipe, ids, labels, plan, count)
        return Replay(Watch(small.victim, found), recipe, plan, course)

    return replay, truth, wrong, labels


def test_the_right_sentences_cause_the_change(case):
    replay, truth, wrong, _ = case
    assert replay(truth).course.loss < 1e-9
    assert replay(wrong).course.loss > 1e-3


def test_a_replay_at_every_step_of_a_right_course_is_the_training(case):
    replay, truth, _, labels = case
    exact = replay(truth)
    assert exact.course.nodes == tuple(range(6))
    own = exact.gradients(truth, labels)
    assert float(exact.distances(own, own, [[]])[0]) < 1e-9
    few = replay(truth, 3)
    assert len(few.course.nodes) == 3
    own = few.gradients(truth, labels)
    assert float(few.distances(own, own, [[]])[0]) < 0.1


def test_along_the_course_of_wrong_sentences_the_right_ones_are_closer(case):
    replay, truth, wrong, labels = case
    along = replay(wrong, 4)
    own, others = along.gradients(wrong, labels), along.gradients(truth, labels)
    present, right, same = along.distances(own, others, [[], [(0, 0)], [(1, 1)]]).tolist()
    assert right < present
    assert same == pytest.approx(present, abs=1e-9)


def test_the_right_token_promises_most_at_its_place(case):
    replay, truth, wrong, labels = case
    along = replay(wrong, 4)
    gains = along.promises(wrong, along.signals(wrong, labels))
    assert int((gains[0, 3] > gains[0, 3, truth[0, 3]]).sum()) < 3
    assert float(gains[0, 3, wrong[0, 3]]) == 0
