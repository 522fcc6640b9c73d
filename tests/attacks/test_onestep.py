import dataclasses

import pytest
import torch

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.onestep import OneStep, nonnegative

from ..conftest import conv, trained
from .test_haim import alike, run


def victim_of(k=3, epochs=3, lr=0.01, **recipe):
    torch.manual_seed(7)  # not the attack's, whose noise would be the images
    recipe = Recipe(size=4, lr=lr, batch_size=4, epochs=epochs, **recipe)
    x, labels = torch.randn(4, 1, 6, 6), torch.tensor([0, 1, 2, 0]).clamp(max=max(k, 2) - 1)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 60), torch.nn.ReLU(), torch.nn.Linear(60, k))
    return trained(network, x, labels, recipe, torch.arange(4).repeat(epochs, 1)), recipe, x


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("refit", [0, 25])
def test_recovers_images_of_a_nearly_linear_training(k, refit):
    victim, recipe, x = victim_of(k)
    attack = OneStep(iterations=250, step_size=0.1, alpha=0.0, refit=refit)
    first = attack.init(victim, recipe, 0)
    found, state = run(attack, victim, recipe)
    assert state.done
    assert found.loss < 0.1
    assert alike(x, found.inputs) > 0.7 > 0.4 > alike(x, first.variables["x"])
    assert found.records.shape == (8, 1, 6, 6)


def test_solving_for_the_weights_fits_the_length_of_the_change():
    victim, recipe, _ = victim_of()
    ratios = [run(OneStep(iterations=50, refit=refit), victim, recipe)[1].terms["change_ratio"] for refit in (0, 1)]
    assert abs(ratios[1] - 1) < 0.3 < abs(ratios[0] - 1)


def test_solved_weights_are_those_of_the_true_images():
    """One step of SGD: with the true data at the point where the gradient was taken, every weight is lr / n."""
    victim, recipe, x = victim_of(epochs=1)
    before = {name: 2 * value - victim.thetaf[name] for name, value in victim.theta0.items()}
    shifted = dataclasses.replace(victim, theta0=before, thetaf=victim.theta0)
    attack = OneStep(iterations=1, refit=1, factor=1.0)
    state = attack.init(shifted, recipe, 0)
    labels = torch.tensor([0, 1, 2, 0])
    state = dataclasses.replace(state, variables={**state.variables, "x": x}, constants={"labels": labels})
    state = attack.step(shifted, recipe, state)
    assert state.terms["cosine"] == pytest.approx(0, abs=1e-5)
    assert state.memory["best.multipliers"].tolist() == pytest.approx([recipe.lr / 4] * 4, rel=1e-3)


def test_the_squared_error_gives_way_to_the_cosine():
    attack = OneStep(iterations=1000)
    assert [attack._scale(step) for step in (0, 5, 6, 15, 16, 39, 40, 79, 80, 119, 120, 999)] == [
        0.01, 0.01, 1 / 30, 1 / 30, 0.05, 0.05, 1.0, 1.0, 5.0, 5.0, None, None
    ]  # fmt: skip


def test_weight_decay_is_taken_out_of_the_change():
    plain, decayed = (victim_of(weight_decay=decay) for decay in (0.0, 0.1))
    losses = [run(OneStep(iterations=100, step_size=0.1, alpha=0.0), *pair[:2])[0].loss for pair in (plain, decayed)]
    assert losses[1] == pytest.approx(losses[0], abs=0.1)


def test_a_budget_may_end_before_the_first_step(tiny):
    victim, recipe, *_ = tiny
    attack = OneStep()
    found = attack.finish(victim, recipe, attack.init(victim, recipe, 0))
    assert found.loss == float("inf")
    assert found.records.shape[0] == 8


def test_adam_is_refused():
    victim, recipe, _ = victim_of()
    with pytest.raises(Unsupported, match="adam"):
        OneStep().init(victim, dataclasses.replace(recipe, optimizer="adam"), 0)


def test_a_convolutional_network_will_do():
    recipe = Recipe(2, 0.05, 2, 2)
    victim = trained(conv(), torch.randn(2, 1, 6, 6), torch.tensor([0, 2]), recipe, torch.arange(2).repeat(2, 1))
    first, last = (run(OneStep(iterations=count), victim, recipe)[0].loss for count in (1, 100))
    assert last < 0.7 * first


def test_influence_is_what_a_dummy_adds(tiny):
    victim, recipe, *_ = tiny
    found, state = run(OneStep(iterations=2), victim, recipe)
    silent = dataclasses.replace(state, memory={**state.memory, "best.multipliers": torch.zeros(8).double()})
    assert float(found.influence.min()) > 0
    assert float(OneStep().finish(victim, recipe, silent).influence.max()) == 0


def test_nonnegative_least_squares_equals_known_solutions():
    one = torch.eye(3, dtype=torch.float64)
    assert nonnegative(one, torch.tensor([2.0, -1.0, 0.5]).double()).tolist() == pytest.approx([2, 0, 0.5])
    gram, moments = torch.tensor([[2.0, 1.0], [1.0, 2.0]]).double(), torch.tensor([3.0, 3.0]).double()
    assert nonnegative(gram, moments).tolist() == pytest.approx([1, 1])
    assert nonnegative(one, -torch.ones(3).double()).tolist() == [0, 0, 0]


@pytest.mark.parametrize("shape", [(30, 8), (8, 8), (5, 12)])
def test_nonnegative_least_squares_meets_the_conditions_of_a_minimum(shape):
    draw = torch.Generator().manual_seed(1)
    a, b = torch.randn(*shape, generator=draw).double(), torch.randn(shape[0], generator=draw).double()
    w = nonnegative(a.T @ a, a.T @ b)
    slope = a.T @ (a @ w - b)
    assert float(w.min()) >= 0
    assert float(slope.min()) > -1e-7
    assert float((slope * w).abs().max()) < 1e-7
    twice = torch.cat([a, a], 1)  # twins: any split will do
    assert torch.allclose(twice @ nonnegative(twice.T @ twice, twice.T @ b), a @ w, atol=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"iterations": 0}, {"step_size": 0.0}, {"factor": 0.0}, {"refit": -1}, {"alpha": -1}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OneStep(**wrong)
