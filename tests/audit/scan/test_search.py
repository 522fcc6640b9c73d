import dataclasses
import math

import pytest
import torch

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.params import subtract
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.haim import Haim
from memaudit.attacks.images.variables import compose
from memaudit.attacks.optimise.distances import euclidean
from memaudit.attacks.simudy import LOG_LR, SimuDy
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import simulate
from memaudit.audit.events import silence
from memaudit.audit.machine.clock import Deadline
from memaudit.audit.machine.means import Means
from memaudit.audit.request import ScanRequest
from memaudit.audit.run.drive import Budget, drive
from memaudit.audit.run.store import Store, key
from memaudit.audit.scan import search as infer
from memaudit.audit.scan.candidates import CREDIBLE, Axes, Candidate
from memaudit.audit.scan.scene import load
from memaudit.audit.scan.search import Search, search

UNKNOWN = Recipe(size=4, lr=math.nan, batch_size=4, epochs=20)
SGD = Axes(("sgd",), ((4, 20),))


def candidate(recipe, rung, loss=0.1, ratio=1.0, cosine=0.01):
    return Candidate(recipe, rung, 0, loss, cosine, ratio, 1, "stalled")


class Faked(Search):
    """A search whose candidates come from a rule, in place of attacks: ``place(recipe, rung)`` gives them."""

    def attempt(self, asked, rung, start=None):
        self.fits = [*getattr(self, "fits", []), *(fit for _, fit in asked)]
        found = [self.place(recipe, rung) for recipe, _ in asked]
        self.tried += found
        return found

    def spent(self):
        """Return the simulated steps that the attempts so far take."""
        return sum(self.rungs[c.rung] * self.epochs(c.recipe, c.rung) * c.recipe.batches for c in self.tried)


def nearest(true):
    """Return a rule by which the candidate nearest to the travel ``true`` has the lowest loss."""

    def rule(recipe, rung):
        ratio = recipe.travel / true
        return candidate(recipe, rung, abs(math.log(ratio)), ratio)

    return rule


def until(deadline, listener=silence):
    return Means(listener).until(deadline, deadline)


def faked(rule, axes=SGD, recipe=UNKNOWN, iterations=200, **more):
    state = Faked(SimuDy(iterations=iterations), None, recipe, 0, rule, **more)
    return search(state, axes), state


# The plan


@pytest.mark.parametrize("share", [infer.ALLOWANCE / (1 - infer.ALLOWANCE), 0.5])
@pytest.mark.parametrize(
    ("size", "epochs", "iterations"), [(4, 20, 200), (4, 20, 2000), (20, 20, 100), (64, 20, 200), (64, 100, 200)]
)
@pytest.mark.parametrize("optimizers", [("sgd",), ("sgd", "adam")])
def test_the_search_stays_within_its_allowance(share, size, epochs, iterations, optimizers):
    recipe = Recipe(size=size, lr=math.nan, batch_size=min(size, 32), epochs=epochs)
    shapes = tuple((b, epochs) for b in (min(size, 32), 16, 8) if b <= recipe.batch_size)
    found, state = faked(nearest(0.31), Axes(optimizers, shapes, travel=0.3), recipe, iterations, allowance=share)
    assert found is not None
    if state.rungs[0] > infer.SHORTEST and state.rungs[1] > infer.SHORTEST:
        assert state.spent() <= share * iterations * recipe.steps
    assert all(length >= infer.SHORTEST for length in state.rungs)


def test_a_short_attack_has_short_probes():
    _, state = faked(nearest(0.31), iterations=6)
    assert state.rungs == (5, 5, 5)
    _, state = faked(nearest(0.31), iterations=2000)
    assert state.rungs == infer.RUNGS
    assert state.epochs(UNKNOWN, 2) == infer.EPOCHS[2]


def test_a_probe_never_simulates_more_epochs_than_there_were():
    state = Search(SimuDy(), None, UNKNOWN, 0, None)
    for rung, most in enumerate(infer.EPOCHS):
        assert state.epochs(UNKNOWN, rung) == most
        assert state.epochs(dataclasses.replace(UNKNOWN, epochs=1), rung) == 1


# The grid


def test_the_grid_is_extended_while_even_its_end_is_too_short_or_too_long():
    found, state = faked(nearest(20.0))
    travels = [c.recipe.travel for c in state.tried if c.rung == 0]
    assert travels[:5] == pytest.approx(infer.TRAVELS)
    assert travels[5:] == pytest.approx([9.4868, 30.0], rel=1e-4)
    assert found.recipe.travel == pytest.approx(30.0)
    found, state = faked(nearest(0.001))
    travels = [c.recipe.travel for c in state.tried if c.rung == 0]
    assert min(travels) < 0.0012
    assert found.recipe.travel == pytest.approx(min(travels))


@pytest.mark.parametrize("true", [1e4, 1e-9])
def test_the_grid_ends_somewhere(true):
    _, state = faked(nearest(true))
    travels = [c.recipe.travel for c in state.tried]
    assert min(travels) >= infer.LIMITS[0] * 0.999
    assert max(travels) <= infer.LIMITS[1] * 1.001


def test_the_grid_of_adam_lies_around_what_the_change_tells_and_that_is_what_counts():
    axes = Axes(("adam",), ((4, 20),), travel=0.05)
    found, state = faked(nearest(0.11), axes)
    grid = [c.recipe.travel for c in state.tried if c.rung == 0]
    assert grid[:3] == pytest.approx([0.025, 0.05, 0.1])
    assert found.recipe.travel == pytest.approx(0.05)
    assert found.recipe.lr == pytest.approx(0.05 / 20)
    assert not any(state.fits)
    found, state = faked(nearest(0.11), dataclasses.replace(axes, travel=None))
    assert found.recipe.travel == pytest.approx(0.1)
    assert any(state.fits)


def test_the_travel_of_adam_counts_where_only_the_coarse_grid_was_complete():
    def rule(recipe, rung):
        return nearest(0.11)(recipe, rung) if rung == 0 else candidate(recipe, rung, math.inf)

    found, _ = faked(rule, Axes(("adam",), ((4, 20),), travel=0.05))
    assert found.recipe.travel == pytest.approx(0.05)


@pytest.mark.parametrize("better", ["sgd", "adam"])
def test_both_optimizers_are_tried_where_the_change_does_not_settle_it(better):
    def rule(recipe, rung):
        return candidate(recipe, rung, 0.1 if recipe.optimizer == better else 0.5)

    found, state = faked(rule, Axes(("sgd", "adam"), ((4, 20),), travel=0.05))
    assert found.recipe.optimizer == better
    assert {c.recipe.optimizer for c in state.tried if c.rung == 0} == {"sgd", "adam"}


def test_a_deadline_ends_the_search_before_other_batch_sizes():
    recipe = Recipe(size=40, lr=math.nan, batch_size=32, epochs=20)
    found, state = faked(nearest(0.31), Axes(("sgd",), SHAPES), recipe, means=until(Deadline.after(0)))
    assert {c.recipe.batch_size for c in state.tried} == {32}
    assert found is not None


# Batch sizes


SHAPES = ((32, 20), (16, 20), (8, 20))


def test_each_batch_size_is_tried_at_about_the_best_travel():
    recipe = Recipe(size=40, lr=math.nan, batch_size=32, epochs=20)
    found, state = faked(nearest(0.31), Axes(("sgd",), SHAPES), recipe)
    coarse = [c.recipe for c in state.tried if c.rung == 0]
    assert {r.batch_size for r in coarse} == {32, 16, 8}
    for size in (16, 8):
        travels = [r.travel for r in coarse if r.batch_size == size]
        assert travels == pytest.approx([0.3 / infer.STRIDE, 0.3, 0.3 * infer.STRIDE])
    assert found.recipe.batch_size == 32


def test_another_batch_size_must_be_clearly_better():
    recipe = Recipe(size=32, lr=math.nan, batch_size=32, epochs=20)

    def rule(factor):
        return lambda r, rung: candidate(r, rung, 0.1 * (factor if r.batch_size == 8 else 1) + abs(r.travel - 0.3))

    assert faked(rule(0.95), Axes(("sgd",), SHAPES), recipe)[0].recipe.batch_size == 32
    assert faked(rule(0.5), Axes(("sgd",), SHAPES), recipe)[0].recipe.batch_size == 8


def test_a_known_batch_size_is_the_only_one():
    recipe = Recipe(size=40, lr=math.nan, batch_size=16, epochs=20)
    _, state = faked(nearest(0.31), Axes(("sgd",), ((16, 20),)), recipe)
    assert {c.recipe.batch_size for c in state.tried} == {16}


def test_weight_decay_follows_from_how_much_the_weights_shrank():
    found, _ = faked(nearest(0.3), dataclasses.replace(SGD, shrink=0.99))
    shrunk = (1 - found.recipe.lr * found.recipe.weight_decay) ** found.recipe.steps
    assert shrunk == pytest.approx(0.99, abs=1e-4)
    assert faked(nearest(0.3))[0].recipe.weight_decay == 0


# What counts


def test_nothing_complete_finds_nothing():
    found, state = faked(lambda recipe, rung: candidate(recipe, rung, math.inf, math.nan))
    assert found is None
    assert len(state.tried) == len(infer.TRAVELS)


def test_the_last_round_counts_only_where_it_explains_the_change():
    def rule(cosine):
        return lambda r, rung: candidate(
            dataclasses.replace(r, lr=r.lr * (2 if rung == 2 else 1)), rung, abs(r.travel - 0.3), cosine=cosine
        )

    found, _ = faked(rule(CREDIBLE / 2))
    assert (found.rung, found.recipe.travel) == (2, pytest.approx(0.6))
    found, _ = faked(rule(CREDIBLE * 2))
    assert (found.rung, found.recipe.travel) == (1, pytest.approx(0.3))


# Real probes


@pytest.fixture(scope="module")
def victim(leak):
    """A network trained by torch on four photographs: learning rate 0.02, 10 epochs, and so a travel of 0.2."""
    torch.set_num_threads(1)
    return load(ScanRequest(leak.before, leak.after, normalise="0.5;0.25", size=4)).victim


def searching(victim, folder, **more):
    store = Store(folder)
    unknown = Recipe(size=4, lr=math.nan, batch_size=4, epochs=10)
    attack = SimuDy(iterations=100)
    return Search(attack, lambda: victim, unknown, 0, lambda *parts, seed: store.job(key(*parts)), **more)


AXES = Axes(("sgd",), ((4, 10),))


@pytest.fixture(scope="module")
def searched(victim, tmp_path_factory):
    events, folder = [], tmp_path_factory.mktemp("search")
    state = searching(victim, folder, allowance=1.0, means=Means(events.append))
    return search(state, AXES), state, events, folder


def test_finds_the_travel(searched):
    found, _, events, _ = searched
    assert found.recipe.travel == pytest.approx(0.2, rel=0.25)
    assert (found.recipe.lr, found.recipe.epochs) == (pytest.approx(0.02, rel=0.25), 10)
    assert all(event.step <= event.total for event in events)
    assert [event.step for event in events] == list(range(1, len(events) + 1))


def test_candidates_carry_round_labels_and_what_they_took(searched):
    _, state, *_ = searched
    assert [c.rung for c in state.tried][-2:] == [1, 2]
    assert {c.rung for c in state.tried[:-2]} == {0}
    for c in state.tried:
        assert len(c.labels) == 4
        assert sum(c.labels) == 4
        assert c.steps == state.rungs[c.rung]
        assert math.isfinite(c.loss)
        assert LOG_LR not in c.state.variables
    ratios = [c.change_ratio for c in sorted(state.tried[:5], key=lambda c: c.recipe.lr)]
    assert ratios == sorted(ratios)
    assert [c.number for c in state.tried] == list(range(len(state.tried)))


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_a_start_ten_times_off_is_fitted_away(victim, tmp_path, factor):
    state = searching(victim, tmp_path)
    state.rungs = (30, 30, 30)
    start = state.at(0.2 * factor, "sgd", (4, 10), 1.0)
    (found,) = state.attempt([(start, True)], 2)
    assert found.recipe.travel == pytest.approx(0.2, rel=0.25)
    (fixed,) = state.attempt([(start, False)], 2)
    assert fixed.recipe.travel == pytest.approx(start.travel)
    assert fixed.loss > found.loss


def test_the_same_seed_gives_the_same_result_and_saved_states_are_not_run_again(searched, victim, tmp_path):
    found, state, _, folder = searched
    elsewhere = searching(victim, tmp_path, allowance=1.0)
    assert search(elsewhere, AXES) == found
    assert elsewhere.tried == state.tried
    events = []
    again = searching(victim, folder, allowance=1.0, means=Means(events.append))
    assert search(again, AXES) == found
    assert events == []


def test_a_deadline_ends_the_search_with_nothing(victim, tmp_path):
    state = searching(victim, tmp_path, means=until(Deadline.after(0)))
    assert search(state, AXES) is None
    assert {(c.status, c.steps, c.complete) for c in state.tried} == {("budget_spent", 0, False)}


def test_a_victim_that_the_attack_cannot_treat_is_said(victim, tmp_path):
    state = dataclasses.replace(searching(victim, tmp_path), attack=Haim())
    with pytest.raises(Unsupported, match="binary"):
        search(state, AXES)


def test_the_loss_is_the_relative_squared_error_of_a_complete_schedule(tiny):
    victim, recipe, *_ = tiny
    attack = SimuDy(iterations=6, step_size=0.1)
    whole = drive(attack, victim, recipe, 0, finish=False)
    before_last = drive(attack, victim, recipe, 0, finish=False, budget=Budget(steps=5)).state
    variables = compose(before_last.variables)
    final = simulate(victim, recipe, variables, before_last.constants["labels"], before_last.constants["plan"],
                     adjoint=FullGraph())  # fmt: skip
    error = euclidean(subtract(final, victim.theta0), victim.delta)
    assert infer._candidate(recipe, 0, 0, whole, 3).loss == pytest.approx(error.item(), rel=1e-6)
    assert infer._candidate(recipe, 0, 0, dataclasses.replace(whole, status="diverged"), 3).loss == math.inf
    cut = dataclasses.replace(whole, state=before_last, status="budget_spent")
    assert infer._candidate(recipe, 0, 0, cut, 3).loss == math.inf
