import dataclasses
import math

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain import inversion
from memaudit.attacks.gradinversion import GradInversion, matching, observed, spread, statistics_error
from memaudit.attacks.simulation import batchnorm

from ..conftest import trained
from .test_gion import rms, run, smooth_images
from .test_inverting_gradients import victim_of


def batch_normed(labels, lr=0.1, epochs=1, momentum=0.1):
    n = len(labels)
    recipe = Recipe(n, lr, n, epochs, batch_norm="train")
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3, 2, 1), nn.BatchNorm2d(12, momentum=momentum), nn.ReLU(), nn.Flatten(), nn.Linear(192, 4)
    )
    x = smooth_images(n, 8)
    return trained(network, x, torch.tensor(labels), recipe, torch.arange(n)[None].repeat(epochs, 1)), recipe, x


def seen_by(victim, x):
    with batchnorm.train_mode(victim.module) as seen:
        victim.logits(victim.theta0, x)
    return seen


@pytest.mark.parametrize("momentum", [0.1, 0.9, None])
def test_what_batch_norm_saw_is_solved_for(momentum):
    victim, recipe, x = batch_normed([0, 1, 2], momentum=momentum)
    ((mean, variance),) = observed(victim, recipe).values()
    ((true_mean, true_variance, _),) = seen_by(victim, x).values()
    assert torch.allclose(mean, true_mean)
    assert torch.allclose(variance, true_variance)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_of_several_steps_their_average(momentum):
    victim, recipe, x = batch_normed([0, 1, 2], lr=1e-6, epochs=5, momentum=momentum)
    ((mean, variance),) = observed(victim, recipe).values()
    ((true_mean, true_variance, _),) = seen_by(victim, x).values()
    assert torch.allclose(mean, true_mean, atol=1e-4)
    assert torch.allclose(variance, true_variance, atol=1e-4)


def test_statistics_from_before_training_are_not_used():
    victim, recipe, _ = batch_normed([0, 1, 2])
    assert observed(victim, dataclasses.replace(recipe, batch_norm="eval")) == {}
    assert observed(dataclasses.replace(victim, running={}), recipe) == {}


def test_the_error_of_statistics_is_zero_for_the_real_images_only():
    victim, recipe, x = batch_normed([0, 1, 2])
    wanted = observed(victim, recipe)
    assert float(statistics_error(seen_by(victim, x), wanted)) == pytest.approx(0, abs=1e-6)
    assert float(statistics_error(seen_by(victim, 1 - x), wanted)) > 0.1


def test_the_first_layer_counts_tenfold():
    wanted = {name: (torch.zeros(2), torch.ones(2)) for name in ("a", "b")}
    right, off = (torch.zeros(2), torch.ones(2), 8), (torch.ones(2), torch.ones(2), 8)
    assert float(statistics_error({"a": off, "b": right}, wanted)) == pytest.approx(10 / 11)
    assert float(statistics_error({"a": right, "b": off}, wanted)) == pytest.approx(1 / 11)


def test_images_are_matched_within_their_class():
    reference = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    labels = torch.tensor([0, 0, 0, 1])
    order = torch.tensor([2, 0, 1, 3])
    assert matching(reference[order], reference, labels).tolist() == [1, 2, 0, 3]
    # The nearest image of another class is no partner.
    assert matching(reference.flip(0), reference, labels)[3] == 3


def test_starts_that_show_the_same_in_another_order_agree():
    x, labels = torch.randn(4, 1, 3, 3), torch.tensor([0, 0, 0, 1])
    orders = [[0, 1, 2, 3], [1, 2, 0, 3], [2, 1, 0, 3]]
    starts = torch.stack([x[order] for order in orders])
    assert float(spread(starts, 1, labels)) == pytest.approx(0, abs=1e-12)
    assert float(spread(starts + torch.tensor([0.0, 1.0, 5.0]).view(3, 1, 1, 1, 1), 1, labels)) == pytest.approx(17 / 3)


def test_an_image_follows_from_one_step_and_its_statistics():
    victim, recipe, x = batch_normed([1])
    attack = GradInversion(iterations=250, seeds=2)
    state = run(attack, victim, recipe)
    found = attack.finish(victim, recipe, state)
    assert found.labels.tolist() == [1]
    assert rms(found.records, x) < 0.1
    assert state.variables["x"].shape == (2, 1, 3, 8, 8)


def test_labels_that_differ_are_read_off():
    victim, recipe, _ = victim_of([3, 0, 2])
    assert GradInversion().init(victim, recipe, 0).constants["labels"].tolist() == [0, 2, 3]


def test_the_best_start_is_what_comes_out():
    victim, recipe, _ = victim_of([1, 3])
    attack = GradInversion(iterations=5, seeds=3)
    state = attack.init(victim, recipe, 0)
    following = attack.step(victim, recipe, state)
    losses = []
    for x in state.variables["x"]:
        change, _ = inversion.predict(victim, recipe, x, state.constants["labels"])
        off = sum(float((change[name] - value).square().sum()) for name, value in victim.delta.items())
        losses.append(off / sum(float(value.square().sum()) for value in victim.delta.values()))
    assert following.loss == pytest.approx(min(losses))
    assert torch.equal(following.memory["best.x"], state.variables["x"][losses.index(min(losses))])


def test_the_consensus_draws_the_starts_together():
    victim, recipe, _ = victim_of([1])
    labels, left = torch.tensor([1]), []
    for group in (0.0, 100.0):
        attack = GradInversion(iterations=60, seeds=3, gather=0.0, group=group, langevin=0.0)
        left.append(float(spread(run(attack, victim, recipe).variables["x"], 0, labels)))
    assert left[1] < 0.3 * left[0]


def test_the_noise_is_that_of_seed_and_step():
    victim, recipe, _ = victim_of([1])
    states = [
        run(GradInversion(iterations=3, seeds=1, langevin=noise), victim, recipe, 2**40) for noise in (0, 0.2, 0.2)
    ]
    images = [state.variables["x"] for state in states]
    assert torch.equal(images[1], images[2])
    assert not torch.equal(images[0], images[1])
    assert math.isfinite(states[0].loss)


@pytest.mark.parametrize("name", ["iterations", "step_size", "seeds", "init_scale"])
def test_options_must_be_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        GradInversion(**{name: 0})


@pytest.mark.parametrize("name", ["alpha", "ridge", "gamma", "group", "gather", "langevin", "warmup", "tolerance"])
def test_weights_must_not_be_negative(name):
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        GradInversion(**{name: -1})
