import dataclasses

import pytest
import torch

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import simulate

from ...conftest import optimizer_of, scheduler_of

SCHEDULES = [(schedule, warmup) for schedule in ("constant", "linear", "cosine") for warmup in (0, 1, 6)]


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 4, 30])
@pytest.mark.parametrize(("schedule", "warmup"), SCHEDULES)
def test_rate_is_what_torch_schedulers_give(schedule, warmup, epochs):
    recipe = Recipe(5, 0.3, 2, epochs, schedule=schedule, warmup=warmup)
    optimizer = optimizer_of([torch.zeros(1, requires_grad=True)], recipe)
    scheduler = scheduler_of(optimizer, recipe)
    assert recipe.steps == 3 * epochs
    for step in range(recipe.steps):
        assert recipe.rate(step) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9, abs=1e-15), step
        optimizer.step()
        scheduler.step()


def test_rate_rises_to_the_top_and_falls_to_almost_zero():
    recipe = Recipe(10, 1.0, 10, 20, schedule="linear", warmup=4)
    rates = [recipe.rate(step) for step in range(20)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 16)


@pytest.mark.parametrize(("schedule", "warmup"), [("constant", 0), ("linear", 3), ("cosine", 0)])
@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.4}, {"momentum": 0.9, "nesterov": True}],
    ids=["plain", "momentum", "dampening", "nesterov"],
)
def test_travel_is_how_far_torch_carries_a_constant_gradient(options, schedule, warmup):
    recipe = Recipe(5, 0.3, 2, 4, schedule=schedule, warmup=warmup, **options)
    place = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_of([place], recipe)
    scheduler = scheduler_of(optimizer, recipe)
    for _ in range(recipe.steps):
        place.grad = torch.full_like(place, -1.0)
        optimizer.step()
        scheduler.step()
    assert recipe.travel == pytest.approx(float(place.detach()), rel=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_travel_of_adam_is_the_sum_of_the_rates(optimizer):
    recipe = Recipe(5, 0.3, 2, 4, optimizer=optimizer, momentum=0.9, schedule="cosine")
    assert recipe.travel == pytest.approx(sum(recipe.rate(step) for step in range(12)))
    place = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam = optimizer_of([place], recipe)
    scheduler = scheduler_of(adam, recipe)
    for _ in range(recipe.steps):
        place.grad = torch.full_like(place, -7.0)
        adam.step()
        scheduler.step()
    assert float(place.detach()) == pytest.approx(recipe.travel, rel=1e-6)


def test_steps_count_a_last_batch_that_is_not_full():
    assert [Recipe(7, 1.0, size, 2).steps for size in (1, 3, 7, 100)] == [14, 6, 2, 2]


def test_masked_parameters_are_simulated_but_not_compared(tiny):
    victim, recipe, x, labels = tiny
    masked = dataclasses.replace(victim, masked=frozenset({"1.bias", "5.weight"}))
    assert set(victim.delta) - set(masked.delta) == masked.masked
    assert all(torch.equal(value, victim.delta[name]) for name, value in masked.delta.items())
    plan = torch.arange(4).repeat(3, 1)
    final = simulate(masked, recipe, x, labels, plan, adjoint=FullGraph())
    for name, value in victim.thetaf.items():
        assert torch.allclose(final[name], value)
    assert list(masked.change(final)) == list(masked.delta)
    assert list(masked.change({**final, "bn.running_mean": x})) == list(masked.delta)
