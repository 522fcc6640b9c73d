"""Dummies that share one image, told by what the simulated training makes of them when they are merged."""

import pytest
import torch

from memaudit.attacks.contract.params import cosine_distance
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain.twins import twins
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import simulate
from tests.conftest import mlp, trained

RECIPE = Recipe(size=5, lr=0.05, batch_size=5, epochs=3)
PLAN = torch.arange(5).repeat(3, 1)
LABELS = torch.tensor([0, 0, 0, 1, 2])
INFLUENCE = torch.tensor([2.0, 1.0, 1.5, 1.8, 1.2])


@pytest.fixture
def explained():
    """Return how badly dummies explain a training on five images, the first of which came twice, and these images."""
    x = torch.randn(5, 3, 2, 2, dtype=torch.float64)
    x[1] = x[0]
    victim = trained(mlp(), x, LABELS, RECIPE, PLAN)
    asked = []

    def loss(dummies):
        asked.append(dummies)
        final = simulate(victim, RECIPE, dummies, LABELS, PLAN, adjoint=FullGraph())
        return float(cosine_distance(victim.change(final), victim.delta).detach())

    return loss, x, asked


def test_the_weaker_of_two_dummies_of_one_image_is_superfluous(explained):
    loss, x, _ = explained
    assert twins(x, LABELS, INFLUENCE, loss).tolist() == [False, True, False, False, False]
    other = INFLUENCE[[1, 0, 2, 3, 4]]
    assert twins(x, LABELS, other, loss).tolist() == [True, False, False, False, False]


def test_two_halves_that_together_are_an_image_are_twins_though_they_differ(explained):
    loss, x, _ = explained
    weights, apart = INFLUENCE / INFLUENCE.sum(), 0.02 * torch.randn_like(x[0])
    halves = x.clone()
    halves[0], halves[1] = x[0] + weights[1] * apart, x[0] - weights[0] * apart
    assert not torch.equal(halves[0], halves[1])
    assert twins(halves, LABELS, INFLUENCE, loss).tolist() == [False, True, False, False, False]


def test_dummies_of_different_classes_or_images_are_not_twins(explained):
    loss, x, _ = explained
    apart = LABELS.clone()
    apart[1] = 1
    assert not twins(x, apart, INFLUENCE, loss)[:3].any(), "the copies differ in their class"
    x[1] = torch.randn_like(x[1])
    assert not twins(x, LABELS, INFLUENCE, lambda dummies: float((dummies - x).square().sum())).any()


@pytest.mark.parametrize(
    ("count", "labels"), [(2, [0, 0]), (3, [0, 1, 2])], ids=["too few to compare", "no two of a class"]
)
def test_nothing_is_merged_where_there_is_nothing_to_compare(explained, count, labels):
    _, x, asked = explained
    found = twins(x[:count], torch.tensor(labels), INFLUENCE[:count], lambda dummies: asked.append(dummies) or 0.0)
    assert (found.tolist(), asked) == ([False] * count, [])
