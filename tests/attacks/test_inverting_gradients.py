import dataclasses

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.attacks.inverting_gradients import InvertingGradients

from ..conftest import Residual, trained
from .test_gion import rms, run, smooth_images

SCALE = Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))


def network(k=4):
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 16, k)
    )  # fmt: skip


def victim_of(labels, k=4, **options):
    n = len(labels)
    recipe = Recipe(**{"size": n, "lr": 0.1, "batch_size": n, "epochs": 1, **options})
    pixels = smooth_images(n, 8)
    plan = torch.arange(n)[None].repeat(recipe.epochs, 1)
    victim = trained(network(k), SCALE.from_pixels(pixels), torch.tensor(labels), recipe, plan)
    return dataclasses.replace(victim, medium=Images(SCALE)), recipe, pixels


@pytest.mark.parametrize("k", [1, 4])
def test_an_image_follows_from_one_step(k):
    victim, recipe, pixels = victim_of([1], k)
    attack = InvertingGradients(iterations=300)
    found = attack.finish(victim, recipe, run(attack, victim, recipe))
    assert found.labels.tolist() == [1]
    assert rms(found.records, pixels) < 0.1


def test_the_length_of_the_change_does_not_matter():
    victim, recipe, _ = victim_of([1])
    attack = InvertingGradients(iterations=20)
    other = dataclasses.replace(recipe, lr=10 * recipe.lr)
    states = [run(attack, victim, choice) for choice in (recipe, other)]
    assert states[0].loss == pytest.approx(states[1].loss, rel=1e-6)
    assert states[1].terms["change_ratio"] == pytest.approx(10 * states[0].terms["change_ratio"], rel=1e-4)


def test_images_stay_in_the_range_of_pixels():
    victim, recipe, _ = victim_of([1, 3])
    attack = InvertingGradients(iterations=10, step_size=1.0)
    pixels = SCALE.to_pixels(run(attack, victim, recipe).variables["x"])
    assert -1e-9 < float(pixels.min()) < float(pixels.max()) < 1 + 1e-9


def test_several_steps_are_explained_in_part():
    victim, recipe, pixels = victim_of([1], epochs=4, momentum=0.5)
    attack = InvertingGradients(iterations=300)
    found = attack.finish(victim, recipe, run(attack, victim, recipe))
    assert 0.01 < found.loss < 0.2
    assert rms(found.records, pixels) < 0.25


def test_batch_norm_in_train_mode_uses_the_batch():
    recipe = Recipe(3, 0.1, 3, 1, batch_norm="train")
    x = torch.randn(3, 1, 6, 6, dtype=torch.float64)
    victim = trained(Residual(), x, torch.tensor([0, 1, 2]), recipe, torch.arange(3)[None])
    attack = InvertingGradients(iterations=60)
    state = attack.init(victim, recipe, 0)
    first = attack.step(victim, recipe, state)
    assert run(attack, victim, recipe).memory["best.loss"] < 0.7 * first.loss


def test_the_total_variation_fades():
    victim, recipe, _ = victim_of([1])
    attack = InvertingGradients(iterations=200, alpha=1.0)
    state, seen = attack.init(victim, recipe, 0), []
    while not state.done:
        state = attack.step(victim, recipe, state)
        seen.append((state.terms["roughness"], state.loss))
    assert min(seen[:150])[0] < 0.2 * seen[0][0]
    assert seen[-1][1] < 0.85 * seen[100][1]


@pytest.mark.parametrize(
    "wrong", [{"iterations": 0}, {"step_size": 0.0}, {"alpha": -1.0}, {"init_scale": 0.0}, {"tolerance": -1.0}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        InvertingGradients(**wrong)
