from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.params import cosine_distance, norm, subtract
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain.multipliers import classes, combine, shares
from memaudit.attacks.images.priors import unblurred
from memaudit.attacks.loo import DUALS, Loo, points
from memaudit.attacks.simulation.dynamics import batch_plan

from ..conftest import Residual, conv, mlp, trained

PLAIN = {"alpha": 0.0, "beta": 0.0, "parametrisation": "pixels", "step_size": 0.1}


def run(attack, victim, recipe, steps=None, seed=0):
    state = attack.init(victim, recipe, seed)
    for _ in range(attack.iterations if steps is None else steps):
        state = attack.step(victim, recipe, state)
    return state


@pytest.fixture
def linear():
    """A victim whose kernel is constant, and the duals that its training had: means over time of y - p."""
    recipe = Recipe(size=4, lr=0.3, batch_size=4, epochs=5)
    x, labels = torch.randn(4, 1, 3, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1])
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 3)).double()
    victim = trained(network, x, labels, recipe, torch.arange(4).repeat(5, 1))
    theta, duals = {name: value.clone() for name, value in victim.theta0.items()}, torch.zeros(4, 3).double()
    for _ in range(5):
        pull = one_hot(labels, 3) - victim.logits(theta, x).softmax(1)
        duals += pull / 5
        theta["1.weight"] = theta["1.weight"] + 0.3 / 4 * pull.T @ x.flatten(1)
        theta["1.bias"] = theta["1.bias"] + 0.3 / 4 * pull.sum(0)
    return victim, recipe, x, labels, duals


def test_duals_explain_a_linear_network_exactly(linear):
    victim, recipe, x, labels, duals = linear
    change = combine(victim, recipe, points(victim, recipe, {DUALS[0]: duals}), x)
    assert float(norm(subtract(change, victim.delta)) / norm(victim.delta)) < 1e-12
    assert classes(duals).tolist() == labels.tolist()
    halves = dict.fromkeys(DUALS, duals / 2)
    change = combine(victim, recipe, points(victim, recipe, halves), x)
    assert float(norm(subtract(change, victim.delta)) / norm(victim.delta)) < 1e-12


def test_shares_are_the_norms_of_what_each_dummy_adds(linear):
    victim, recipe, x, _, duals = linear
    found = shares(victim, recipe, points(victim, recipe, {DUALS[0]: duals}), x)
    unit = recipe.travel / recipe.size
    expected = unit * duals.norm(dim=1) * (x.flatten(1).square().sum(1) + 1).sqrt()
    assert torch.allclose(found, expected)


def test_classes_of_a_single_logit():
    assert classes(torch.tensor([[0.5], [-0.1]])).tolist() == [1, 0]


@pytest.mark.parametrize("both", [True, False])
def test_recovers_training_data_without_labels(both):
    recipe = Recipe(size=2, lr=0.05, batch_size=2, epochs=3)
    x, labels = torch.randn(2, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 2])
    victim = trained(mlp(), x, labels, recipe, torch.arange(2).repeat(3, 1))
    attack = Loo(iterations=150, factor=1.0, both_kernels=both, **PLAIN)
    found = attack.finish(victim, recipe, run(attack, victim, recipe))
    assert found.loss < 0.01
    assert sorted(found.labels.tolist()) == [0, 2]
    alike = torch.cosine_similarity(x.flatten(1), found.inputs[found.labels.argsort()].flatten(1))
    assert float(alike.min()) > 0.95


def test_superfluous_dummies_and_the_best_duals(tiny):
    victim, recipe, *_ = tiny
    attack = Loo(iterations=30, factor=1.5)
    state = run(attack, victim, recipe)
    found = attack.finish(victim, recipe, state)
    assert found.records.shape == (6, *victim.shape)
    duals = {name: state.memory[f"best.{name}"] for name in DUALS}
    change = combine(victim, recipe, points(victim, recipe, duals), found.inputs)
    with torch.no_grad():
        assert float(cosine_distance(change, victim.delta)) == pytest.approx(found.loss, abs=1e-9)
    assert torch.equal(found.labels, classes(sum(duals.values())))


def test_a_budget_may_end_before_the_first_step(tiny):
    victim, recipe, *_ = tiny
    found = Loo().finish(victim, recipe, Loo().init(victim, recipe, 0))
    assert found.records.shape == (8, *victim.shape)
    assert found.loss == float("inf")


def test_softplus_sharpens_into_a_relu():
    attack = Loo(iterations=100, smooth=True)
    values = [attack.sharpness(step) for step in range(100)]
    assert values[0] == 11
    assert values[50] == 110
    assert values == sorted(values)
    assert values[57] == 200
    assert Loo(iterations=100).sharpness(0) == 200


def test_soft_iterates_do_not_stay_the_best(tiny):
    victim, recipe, *_ = tiny
    attack = Loo(iterations=40, smooth=True)
    for step in (10, 20):
        state = run(attack, victim, recipe, step)
        assert float(state.memory["best.loss"]) == state.loss
    assert attack.finish(victim, recipe, run(attack, victim, recipe)).loss < 0.3


@pytest.mark.parametrize("distance", ["log_cosine", "cosine", "euclidean"])
@pytest.mark.parametrize("parametrisation", ["pyramid", "pixels", "generator"])
def test_every_distance_brings_the_loss_down(tiny, distance, parametrisation):
    victim, recipe, *_ = tiny
    attack = Loo(iterations=40, distance=distance, parametrisation=parametrisation, beta=0.0)
    first = run(attack, victim, recipe, 1)
    assert attack.finish(victim, recipe, run(attack, victim, recipe)).loss < 0.6 * first.loss


def test_blur_makes_images_smooth():
    recipe = Recipe(size=2, lr=0.05, batch_size=2, epochs=3)
    network = conv()
    network(torch.zeros(1, 1, 6, 6))
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    victim = trained(network, x, torch.tensor([0, 1]), recipe, torch.arange(2).repeat(3, 1))
    rough, smooth = (Loo(iterations=40, alpha=0.0, blur=weight) for weight in (0.0, 10.0))
    found = [a.finish(victim, recipe, run(a, victim, recipe)).inputs for a in (rough, smooth)]
    assert unblurred(found[1]) < 0.3 * unblurred(found[0])


def test_weight_decay_is_taken_off():
    recipe = Recipe(size=3, lr=0.05, batch_size=3, epochs=2, weight_decay=0.5)
    x, labels = torch.randn(3, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2])
    victim = trained(mlp(), x, labels, recipe, torch.arange(3).repeat(2, 1))
    told, untold = (
        attack.finish(victim, r, run(attack, victim, r)).loss
        for attack in [Loo(iterations=80, **PLAIN)]
        for r in (recipe, replace(recipe, weight_decay=0.0))
    )
    assert told < 0.3 * untold


def test_one_logit():
    recipe = Recipe(size=2, lr=0.05, batch_size=2, epochs=3)
    x, labels = torch.randn(2, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1])
    victim = trained(mlp(k=1), x, labels, recipe, torch.arange(2).repeat(3, 1))
    attack = Loo(iterations=150, factor=1.0, **PLAIN)
    found = attack.finish(victim, recipe, run(attack, victim, recipe))
    assert sorted(found.labels.tolist()) == [0, 1]
    assert found.loss < 0.01


def test_batch_norm_in_train_mode():
    recipe = Recipe(size=4, lr=0.05, batch_size=4, epochs=2, batch_norm="train")
    x, labels = torch.randn(4, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    victim = trained(Residual(), x, labels, recipe, batch_plan(recipe, 4, torch.Generator()))
    attack = Loo(iterations=30, **PLAIN)
    first = run(attack, victim, recipe, 1)
    found = attack.finish(victim, recipe, run(attack, victim, recipe))
    assert found.loss < 0.5 * first.loss
    assert (found.influence > 0).all()


def test_adam_is_refused(tiny):
    victim, recipe, *_ = tiny
    with pytest.raises(Unsupported, match="adamw"):
        Loo().init(victim, replace(recipe, optimizer="adamw"), 0)


@pytest.mark.parametrize("options", [{"iterations": 0}, {"factor": 0.0}, {"dual_step": -1.0}, {"blur": -0.1}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="must"):
        Loo(**options)
