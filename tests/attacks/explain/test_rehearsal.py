"""A training rehearsed on made-up records."""

import dataclasses
import math

import pytest
import torch

from memaudit.attacks.contract.params import cosine_distance, norm
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain.rehearsal import compared, rehearsed

from ...conftest import mlp, trained

RECIPE = Recipe(4, math.nan, 2, 9)


def subject():
    recipe = Recipe(size=4, lr=0.1, batch_size=4, epochs=5)
    x, labels = torch.randn(4, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    return trained(mlp(), x, labels, recipe, torch.arange(4).repeat(5, 1)), x


def test_it_goes_about_as_far_as_the_training_did_and_needs_no_rate():
    victim, x = subject()
    mock = rehearsed(victim, RECIPE, x)
    assert 0.8 * norm(victim.delta) < norm(mock.delta) < 1.0001 * norm(victim.delta)
    assert all(torch.equal(mock.theta0[name], value) for name, value in victim.theta0.items())
    again = rehearsed(victim, RECIPE, x)
    assert all(torch.equal(again.thetaf[name], value) for name, value in mock.thetaf.items())


def test_it_depends_on_the_records():
    victim, x = subject()
    a, b = rehearsed(victim, RECIPE, x), rehearsed(victim, RECIPE, -x)
    assert float(cosine_distance(a.delta, b.delta)) > 0.05


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_adam_moves_numbers_more_alike_than_sgd(optimizer):
    victim, x = subject()
    plain, adaptive = (rehearsed(victim, dataclasses.replace(RECIPE, optimizer=kind), x) for kind in ("sgd", optimizer))

    def spread(mock) -> float:
        sizes = torch.cat([value.abs().flatten() for value in mock.delta.values()])
        return float(sizes.std() / sizes.mean())

    assert spread(adaptive) < 0.7 * spread(plain)


def test_it_is_rounded_as_the_files_are():
    victim, x = subject()
    coarse = {name: value.bfloat16().double() for name, value in victim.thetaf.items()}
    mock = rehearsed(dataclasses.replace(victim, thetaf=coarse), RECIPE, x)
    assert all(torch.equal(value, value.bfloat16().double()) for value in mock.thetaf.values())


def test_what_a_loss_says_beside_a_rehearsal():
    assert compared(0.02, 0.03, 0.3) == ""
    assert "far less than the 0.03" in compared(0.002, 0.03, 0.3)
    assert "far more than the 0.03" in compared(0.2, 0.03, 0.3)
    assert "wrong ones no more than 0.05" in compared(0.02, 0.03, 0.05)
    assert compared(0.02, 0.0, 0.0) == ""
