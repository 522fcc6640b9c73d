import torch

from memaudit.attacks.base import Recipe
from memaudit.attacks.labels import guess, head_change

from ..conftest import mlp, trained


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
