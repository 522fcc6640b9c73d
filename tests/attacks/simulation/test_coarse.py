import pytest

from memaudit.attacks.contract.attack import Uneven
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.simudy import SimuDy
from memaudit.attacks.simulation.coarse import STRETCH, coarser, early, slowdown
from memaudit.attacks.sme import SME
from memaudit.attacks.span import Span


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


def test_an_attack_says_how_much_longer_its_updates_take_than_the_first_ones():
    recipe = Recipe(4, 0.01, 4, 20)
    assert slowdown(recipe, 5) == 2.5  # half of them 1, half 4 times as long
    assert SimuDy().slowdown(recipe) == Span().slowdown(recipe) == 2.5
    assert SimuDy(coarse=0).slowdown(recipe) == SimuDy(fit_lr=True).slowdown(recipe) == 1
    assert SimuDy().slowdown(Recipe(4, 0.01, 4, 20, optimizer="adam")) == 1
    assert SimuDy().slowdown(Recipe(4, 0.01, 4, 4)) == Span().slowdown(Recipe(4, 0.01, 4, 4)) == 1
    assert SimuDy(epochs=10).slowdown(recipe) == 1.5
    assert not isinstance(SME(), Uneven)


def test_only_the_first_half_of_an_attack_on_a_longer_training_by_sgd_is_early():
    recipe = Recipe(4, 0.01, 4, 20)
    assert [early(recipe, 5, done) for done in (-0.1, 0.0, 0.49, 0.5, 1.0)] == [True, True, True, False, False]
    assert not early(recipe, 0, 0.0)
    assert not early(recipe, 20, 0.0)
    assert not early(Recipe(4, 0.01, 4, 20, optimizer="adamw"), 5, 0.0)
