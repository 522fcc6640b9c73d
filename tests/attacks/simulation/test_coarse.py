import pytest

from memaudit.attacks.contract.attack import Uneven
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.simudy import SimuDy
from memaudit.attacks.simulation.coarse import STRETCH, coarser, slowdown, staged
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
    assert slowdown(recipe, 5) == pytest.approx(1.9)  # half of them 1, most others twice, the last ones 4 times as long
    assert SimuDy().slowdown(recipe) == Span().slowdown(recipe) == slowdown(recipe, 5)
    assert SimuDy(coarse=0).slowdown(recipe) == SimuDy(fit_lr=True).slowdown(recipe) == 1
    assert SimuDy().slowdown(Recipe(4, 0.01, 4, 20, optimizer="adam")) == 1
    assert SimuDy().slowdown(Recipe(4, 0.01, 4, 4)) == Span().slowdown(Recipe(4, 0.01, 4, 4)) == 1
    assert SimuDy(epochs=10).slowdown(recipe) == pytest.approx(1.5)
    assert not isinstance(SME(), Uneven)


def test_an_attack_on_a_longer_training_by_sgd_simulates_more_and_more_of_it():
    recipe = Recipe(4, 0.01, 4, 20)
    epochs = {done: staged(recipe, 5, done).epochs for done in (-0.1, 0.0, 0.49, 0.5, 0.79, 0.8, 1.0)}
    assert list(epochs.values()) == [5, 5, 5, 10, 10, 20, 20]
    assert [staged(recipe, 8, done).epochs for done in (0, 0.5, 0.8)] == [8, 16, 20]
    assert [staged(Recipe(4, 0.01, 4, 90), 5, done).epochs for done in (0, 0.5, 0.8)] == [23, 46, 90]
    assert [staged(Recipe(4, 0.01, 4, 9), 5, done).epochs for done in (0, 0.5, 0.8)] == [5, 9, 9]


def test_what_cannot_be_shorter_is_simulated_as_it_is():
    recipe = Recipe(4, 0.01, 4, 20)
    assert staged(recipe, 5, 0.95) is recipe
    assert staged(recipe, 0, 0.0) is recipe
    assert staged(recipe, 20, 0.0) is recipe
    adam = Recipe(4, 0.01, 4, 20, optimizer="adamw")
    assert staged(adam, 5, 0.0) is adam
