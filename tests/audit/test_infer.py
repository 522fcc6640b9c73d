import math

import torch

from memaudit.attacks.base import Recipe
from memaudit.attacks.simudy import SimuDy
from memaudit.audit.infer import Candidate, learning_rate, matching_length
from memaudit.audit.store import Store

from ..conftest import conv, trained


def candidate(lr, ratio, loss=0.1):
    return Candidate(lr, loss, ratio, 50, "converged")


def test_interpolates_where_the_lengths_agree():
    found = matching_length([candidate(0.001, 0.1), candidate(0.01, 0.5), candidate(0.1, 2.0)])
    assert math.isclose(found, math.sqrt(0.01 * 0.1))


def test_no_candidate_where_nothing_brackets_or_one_is_close():
    assert matching_length([candidate(0.001, 0.1), candidate(0.01, 0.5)]) is None
    assert matching_length([candidate(0.001, 0.1), candidate(0.01, 0.99), candidate(0.1, 9.0)]) is None
    assert matching_length([candidate(0.01, 0.5), candidate(0.1, math.nan, math.inf)]) is None


def test_finds_the_learning_rate_of_a_conv_net(tmp_path):
    recipe = Recipe(size=3, lr=0.2, batch_size=3, epochs=10)
    x, labels = torch.randn(3, 1, 6, 6), torch.tensor([0, 1, 2])
    victim = trained(conv(), x, labels, recipe, torch.arange(3).repeat(10, 1))
    unknown = Recipe(size=3, lr=math.nan, batch_size=3, epochs=10)
    store, events = Store(tmp_path), []
    found, trace = learning_rate(
        SimuDy(step_size=0.1),
        victim,
        unknown,
        0,
        job=lambda attack, recipe: store.job(repr(recipe)),
        listener=events.append,
        grid=(0.02, 0.06, 0.2, 0.6),
    )
    assert 0.1 < found.lr < 0.4
    assert found.epochs == 10
    assert [point.lr for point in trace] == sorted(point.lr for point in trace)
    assert all(point.steps == 50 for point in trace)
    best = min(trace, key=lambda point: point.loss)
    assert best.lr == found.lr
    ratios = [point.change_ratio for point in trace]
    assert ratios == sorted(ratios)
    assert events[-1].step <= events[-1].total
