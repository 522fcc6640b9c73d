import dataclasses
import math

import pytest
import torch

from memaudit.attacks.adjoints import FullGraph
from memaudit.attacks.base import Recipe
from memaudit.attacks.distances import euclidean
from memaudit.attacks.dynamics import simulate
from memaudit.attacks.images import compose
from memaudit.attacks.params import subtract
from memaudit.attacks.simudy import SimuDy
from memaudit.audit import infer
from memaudit.audit.drive import Budget, drive
from memaudit.audit.infer import Candidate, Search, learning_rate, matching_length, probe_of
from memaudit.audit.store import Store

from ..conftest import conv, trained


def candidate(lr, ratio, loss=0.1):
    return Candidate(lr, loss, 0.1, ratio, 50, "converged")


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
    probe = probe_of(SimuDy(step_size=0.1))
    search = Search(probe, victim, unknown, 0, lambda attack, recipe: store.job(repr(recipe)), listener=events.append)
    found, trace = learning_rate(search, grid=(0.02, 0.06, 0.2, 0.6))
    assert 0.1 < found.lr < 0.4
    assert found.epochs == 10
    assert [point.lr for point in trace] == sorted(point.lr for point in trace)
    assert all(point.steps == 50 for point in trace)
    best = min(trace, key=lambda point: point.loss)
    assert best.lr == found.lr
    ratios = [point.change_ratio for point in trace]
    assert ratios == sorted(ratios)
    assert events[-1].step <= events[-1].total


class Faked(Search):
    """A search whose candidates have the losses and ratios of a table, in place of attacks."""

    def attempt(self, lr, expected):
        self.tried.append(self.job(lr))
        self.tried.sort(key=lambda found: found.lr)


def searched(table):
    return learning_rate(Faked(SimuDy(), None, Recipe(1, math.nan, 1, 1), 0, table), infer.GRID)


def test_the_grid_is_extended_while_every_change_is_too_short_or_too_long():
    found, trace = searched(lambda lr: Candidate(lr, abs(math.log(lr / 0.5)), 0.1, lr / 0.5, 50, "converged"))
    assert math.isclose(trace[-1].lr, 1.0, rel_tol=1e-6)
    assert math.isclose(found.lr, 0.5, rel_tol=1e-6)
    found, trace = searched(lambda lr: Candidate(lr, abs(math.log(lr / 2e-4)), 0.1, lr / 2e-4, 50, "converged"))
    assert trace[0].lr < 2e-4
    assert math.isclose(found.lr, 2e-4, rel_tol=1e-6)


def test_a_search_that_nothing_completed_finds_nothing():
    found, trace = searched(lambda lr: Candidate(lr, math.inf, math.nan, math.nan, 3, "budget_spent"))
    assert found is None
    assert len(trace) == len(infer.GRID)


def test_the_loss_is_the_relative_squared_error_of_a_complete_schedule(tiny):
    victim, recipe, *_ = tiny
    attack = SimuDy(iterations=6, step_size=0.1)
    whole = drive(attack, victim, recipe, 0, finish=False)
    before_last = drive(attack, victim, recipe, 0, finish=False, budget=Budget(steps=5)).state
    variables = compose(before_last.variables)
    final = simulate(victim, recipe, variables, before_last.constants["labels"], before_last.constants["plan"],
                     adjoint=FullGraph())  # fmt: skip
    error = euclidean(subtract(final, victim.theta0), victim.delta)
    assert infer._candidate(0.1, whole).loss == pytest.approx(float(error), rel=1e-6)
    assert infer._candidate(0.1, dataclasses.replace(whole, status="diverged")).loss == math.inf
    cut = dataclasses.replace(whole, state=before_last, status="budget_spent")
    assert infer._candidate(0.1, cut).loss == math.inf
