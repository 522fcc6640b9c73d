"""The attacks that read the change as one gradient: one image from one step, on the kind of net of their authors."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from memaudit.attacks.base import Recipe, Unsupported
from memaudit.attacks.dlg import DLG
from memaudit.attacks.gion import GION
from memaudit.attacks.gradinversion import GradInversion
from memaudit.attacks.idlg import IDLG
from memaudit.attacks.inverting_gradients import InvertingGradients
from tests.conftest import trained

ONE = Recipe(size=1, lr=0.1, batch_size=1, epochs=1)


def net(activation: type[nn.Module], k: int = 4) -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), activation(), nn.Conv2d(8, 8, 3, 1, 1), activation(), nn.Flatten(),
        nn.Linear(8 * 16, k),
    )  # fmt: skip
    if activation is nn.Sigmoid:
        for parameter in network.parameters():
            nn.init.uniform_(parameter, -0.5, 0.5)
    return network


def victim_of(activation: type[nn.Module], recipe: Recipe = ONE):
    gen = torch.Generator().manual_seed(3)
    coarse = torch.rand(recipe.size, 1, 3, 3, generator=gen, dtype=torch.float64)
    x = nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear", align_corners=True)
    labels = torch.arange(recipe.size) + 1
    plan = torch.arange(recipe.size)[None].repeat(recipe.epochs, 1)
    return trained(net(activation), x, labels, recipe, plan), x


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return -10 * math.log10(float((a - b).square().mean()))


def run(attack, victim, recipe):
    state = attack.init(victim, recipe, 0)
    while not state.done:
        state = attack.step(victim, recipe, state)
    return attack.finish(victim, recipe, state)


CASES = {
    "dlg": (DLG(iterations=30), nn.Sigmoid),
    "idlg": (IDLG(iterations=30), nn.Sigmoid),
    "inverting_gradients": (InvertingGradients(iterations=400), nn.ReLU),
    "gradinversion": (GradInversion(iterations=400, seeds=2), nn.ReLU),
}


@pytest.mark.parametrize("name", CASES)
def test_one_image_from_one_step(name):
    attack, activation = CASES[name]
    victim, x = victim_of(activation)
    found = run(attack, victim, ONE)
    assert psnr(found.images, x) >= 20
    assert found.labels.tolist() == [1]


def test_the_generator_explains_the_gradient_better_as_it_learns():
    victim, _ = victim_of(nn.Sigmoid)
    losses = [run(GION(iterations=count), victim, ONE).loss for count in (5, 100)]
    assert losses[1] < 0.5 * losses[0]


@pytest.mark.parametrize("kind", [DLG, IDLG, InvertingGradients, GradInversion, GION])
def test_adam_leaves_no_gradient(kind):
    victim, _ = victim_of(nn.ReLU)
    with pytest.raises(Unsupported, match="adam"):
        kind().init(victim, dataclasses.replace(ONE, optimizer="adam"), 0)


def test_idlg_reads_the_label_of_one_image_only():
    recipe = dataclasses.replace(ONE, size=2, batch_size=2)
    victim, _ = victim_of(nn.Sigmoid, recipe)
    with pytest.raises(Unsupported):
        IDLG().init(victim, recipe, 0)
