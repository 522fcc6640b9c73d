import dataclasses
import math

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.params import cosine_distance
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain.labels import (
    by_features,
    expand,
    guess,
    head_change,
    largest_remainder,
    move,
    reassign,
    recount,
)
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import simulate

from ...conftest import mlp, trained


def victim_of(labels: list[int], k: int = 10):
    n = len(labels)
    recipe = Recipe(n, 0.01, n, 4)
    return trained(mlp(k=k), torch.randn(n, 3, 2, 2), torch.tensor(labels), recipe, torch.arange(n).repeat(4, 1))


def sized(n):
    return Recipe(n, 0.01, n, 4)


def with_classes(victim, k):
    object.__setattr__(victim, "classes", k)
    return victim


def test_balanced_when_there_are_enough(tiny):
    victim, *_ = tiny
    assert torch.bincount(guess(victim, sized(6), torch.Generator()), minlength=3).tolist() == [2, 2, 2]
    # The fixture has two images of class 0, so that the odd one goes there.
    assert torch.bincount(guess(victim, sized(7), torch.Generator()), minlength=3).tolist() == [3, 2, 2]


def test_order_is_random_but_seeded(tiny):
    victim, *_ = tiny
    draws = {tuple(guess(victim, sized(9), torch.Generator().manual_seed(s)).tolist()) for s in range(5)}
    assert len(draws) > 1
    assert guess(victim, sized(9), torch.Generator().manual_seed(3)).equal(
        guess(victim, sized(9), torch.Generator().manual_seed(3))
    )


def test_few_samples_take_the_classes_whose_bias_grew():
    for present in ([3, 8], [1, 1], [0, 5, 5], [7]):
        victim = with_classes(victim_of(present), 10)
        assert sorted(guess(victim, sized(len(present)), torch.Generator()).tolist()) == present


def test_head_change_reads_weights_where_there_is_no_bias():
    victim = with_classes(victim_of([2, 4]), 10)
    delta = {name: value for name, value in victim.delta.items() if name != "5.bias"}
    object.__setattr__(victim, "delta", delta)
    assert set(head_change(victim, victim.delta).topk(2).indices.tolist()) == {2, 4}
    object.__setattr__(victim, "delta", {"1.weight": torch.zeros(16, 12)})
    assert head_change(victim, victim.delta) is None


def skewed(counts, module=None, **options):
    """A victim, its recipe without labels, and dummies of noise."""
    n = sum(counts)
    recipe = Recipe(n, 0.05, n, 4, **options)
    labels = expand(torch.tensor(counts))
    victim = trained(module or mlp(), torch.randn(n, 3, 2, 2), labels, recipe, torch.arange(n).repeat(4, 1))
    return victim, recipe, torch.randn(n, 3, 2, 2)


def counted(labels):
    return torch.bincount(labels, minlength=3).tolist()


def change_of(victim, recipe, x, labels):
    plan = torch.arange(recipe.size).repeat(recipe.epochs, 1)
    with torch.no_grad():
        return victim.change(simulate(victim, recipe, x, labels, plan, adjoint=FullGraph()))


def test_known_counts_are_taken(tiny):
    victim, *_ = tiny
    labels = guess(victim, Recipe(9, 0.01, 9, 4, labels=(7, 0, 2)), torch.Generator())
    assert counted(labels) == [7, 0, 2]
    assert labels.tolist() != sorted(labels.tolist())


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "nesterov": True}, {"schedule": "cosine", "warmup": 1}])
@pytest.mark.parametrize("counts", [[7, 2, 0], [1, 6, 2], [5, 5, 2], [9, 0, 0]])
def test_recount_finds_skewed_counts(counts, options):
    victim, recipe, x = skewed(counts, **options)
    labels = guess(victim, recipe, torch.Generator().manual_seed(0))
    assert counted(labels) == [sum(counts) // 3] * 3
    for _ in range(2):
        labels = recount(victim, recipe, labels, change_of(victim, recipe, x, labels))
    assert counted(labels) == counts


def test_recount_leaves_right_counts_alone():
    victim, recipe, x = skewed([5, 3, 1])
    labels = expand(torch.tensor([5, 3, 1]))
    assert torch.equal(recount(victim, recipe, labels, change_of(victim, recipe, x, labels)), labels)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1e6])
def test_recount_survives_a_simulation_that_diverged(wrong):
    victim, recipe, _ = skewed([4, 4, 1])
    labels = expand(torch.tensor([3, 3, 3]))
    change = {name: torch.full_like(value, wrong) for name, value in victim.delta.items()}
    assert torch.equal(recount(victim, recipe, labels, change), labels)


def test_recount_needs_a_bias():
    """A weight's row moves by travel times features, of which nothing is known: no count can be solved for."""
    module = mlp()
    module[-1] = nn.Linear(12, 3, bias=False)
    victim, recipe, x = skewed([6, 2, 1], module)
    labels = expand(torch.tensor([3, 3, 3]))
    assert torch.equal(recount(victim, recipe, labels, change_of(victim, recipe, x, labels)), labels)


def test_reassign_changes_as_few_as_possible():
    for _ in range(50):
        labels = torch.randint(0, 4, (12,))
        counts = torch.bincount(torch.randint(0, 4, (12,)), minlength=4)
        before = labels.clone()
        found = reassign(labels, counts)
        assert torch.bincount(found, minlength=4).equal(counts)
        surplus = torch.bincount(before, minlength=4) - counts
        assert int((found != before).sum()) == int(surplus.clamp(min=0).sum())
        assert torch.equal(labels, before)


def test_largest_remainder_sums_right():
    assert largest_remainder(torch.tensor([2.0, 0.0, 5.0]), 7).tolist() == [2, 0, 5]
    assert largest_remainder(torch.tensor([0.6, 0.3, 0.1]), 4).tolist() == [3, 1, 0]
    assert largest_remainder(torch.ones(3), 4).tolist() == [2, 1, 1]
    for size in (1, 7, 100):
        weights = torch.rand(11)
        found = largest_remainder(weights, size)
        assert int(found.sum()) == size
        assert float((found - weights.double() * size / weights.sum()).abs().max()) < 1


def test_move_takes_the_steepest_change():
    labels = torch.tensor([0, 2, 1])
    slopes = torch.tensor([[0.0, -1.0, 3.0], [-2.0, -1.0, 1.0], [-9.0, -9.5, -9.0]])
    assert move(labels, slopes).tolist() == [0, 0, 1]
    assert labels.tolist() == [0, 2, 1]
    assert move(labels, slopes.abs() * (1 - nn.functional.one_hot(labels, 3))).equal(labels)  # nothing falls


def test_slopes_of_class_probabilities_name_the_wrong_label():
    """The derivative of the distance with respect to labels: one dummy has a wrong class, and moving it mends it."""
    recipe = Recipe(6, 0.05, 6, 4)
    x, labels, plan = torch.randn(6, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6).repeat(4, 1)
    victim = trained(mlp(), x, labels, recipe, plan)
    wrong = torch.tensor([0, 1, 2, 0, 1, 1])
    choice = nn.functional.one_hot(wrong, 3).float().requires_grad_()
    change = victim.change(simulate(victim, recipe, x, choice, plan, adjoint=FullGraph()))
    (slopes,) = torch.autograd.grad(cosine_distance(change, victim.delta), choice)
    assert torch.equal(move(wrong, slopes), labels)


def test_labels_by_the_rows_of_the_head_that_moved_towards_the_features():
    x, labels = torch.randn(6, 3, 2, 2), torch.tensor([2, 0, 1, 1, 0, 2])
    recipe = Recipe(6, 0.05, 6, 3)
    victim = trained(mlp(), x, labels, recipe, torch.arange(6).repeat(3, 1))
    found = by_features(victim, dataclasses.replace(recipe, lr=math.nan), victim.delta, x)
    assert found.tolist() == labels.tolist()
    assert by_features(victim, recipe, {}, x).bincount().tolist() == [2, 2, 2]  # a head of another shape: a guess
    binary = trained(mlp(k=1), x, labels.clamp(max=1), recipe, torch.arange(6).repeat(3, 1))
    told = dataclasses.replace(recipe, labels=(2, 4))
    assert by_features(binary, told, binary.delta, x).bincount().tolist() == [2, 4]


def test_a_matrix_that_is_no_linear_layer_shows_no_class():
    """Of a factor of a low-rank update, what it is given may be negative."""
    victim = victim_of([0, 0, 1])
    head = next(name for name in reversed(victim.delta) if name.endswith("weight"))
    victim.module.get_submodule(head.removesuffix(".weight")).__class__ = type("Factor", (nn.Module,), {})
    change = {name: value for name, value in victim.delta.items() if not name.endswith("bias")}
    assert head_change(victim, change) is None
