import pytest

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.simulation.coarse import STRETCH, coarser


@pytest.mark.parametrize(
    "about",
    [{}, {"momentum": 0.9}, {"schedule": "cosine", "warmup": 8}, {"batch_size": 2}],
    ids=["plain", "momentum", "schedule", "batches"],
)
def test_fewer_epochs_travel_as_far(about):
    recipe = Recipe(**{"size": 4, "lr": 0.01, "batch_size": 4, "epochs": 20, **about})
    short = coarser(recipe, 5)
    assert short.epochs == 5
    assert short.batches == recipe.batches
    assert short.travel == pytest.approx(recipe.travel)
    assert short.warmup == recipe.warmup / 4


def test_steps_are_stretched_so_far_and_no_further():
    recipe = Recipe(4, 0.01, 4, 90)
    short = coarser(recipe, 5)
    assert short.epochs == 23
    assert short.lr <= STRETCH * recipe.lr
