import pytest
import torch
from torch import nn

from memaudit.attacks.adjoints import FullGraph
from memaudit.attacks.base import Recipe
from memaudit.attacks.dynamics import batch_plan, influence, simulate
from memaudit.attacks.params import cosine_distance, subtract

from ..conftest import trained

LABELS = torch.tensor([0, 1, 2, 0, 1])
RECIPES = {
    "full batch": Recipe(5, 0.1, 5, 20),
    "mini-batches": Recipe(5, 0.05, 2, 7),
    "momentum": Recipe(5, 0.05, 2, 7, momentum=0.9),
    "dampening": Recipe(5, 0.05, 2, 7, momentum=0.9, dampening=0.3),
    "nesterov": Recipe(5, 0.05, 2, 7, momentum=0.9, nesterov=True),
    "weight decay": Recipe(5, 0.05, 5, 20, weight_decay=0.05),
    "all": Recipe(5, 0.05, 2, 7, momentum=0.8, nesterov=True, weight_decay=0.05),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_simulation_equals_torch_sgd(network, recipe):
    module, shape = network
    x = torch.randn(5, *shape, dtype=torch.float64)
    plan = batch_plan(recipe, 5, torch.Generator().manual_seed(1))
    victim = trained(module, x, LABELS, recipe, plan)
    final = simulate(victim, recipe, x, LABELS, plan, adjoint=FullGraph())
    for name, value in victim.thetaf.items():
        assert torch.allclose(final[name], value, rtol=1e-10, atol=1e-13), name


def test_clip_equals_torch_clip_grad_norm(network):
    module, shape = network
    x, recipe = torch.randn(5, *shape, dtype=torch.float64), RECIPES["momentum"]
    plan = batch_plan(recipe, 5, torch.Generator())
    victim = trained(module, x, LABELS, recipe, plan, clip=0.3)
    final = simulate(victim, recipe, x, LABELS, plan, adjoint=FullGraph(), clip=0.3)
    unclipped = simulate(victim, recipe, x, LABELS, plan, adjoint=FullGraph())
    for name, value in victim.thetaf.items():
        assert torch.allclose(final[name], value, rtol=1e-10, atol=1e-13), name
        assert not torch.equal(final[name], unclipped[name])


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_oracle_the_true_data_explain_the_change(network, recipe):
    """With true images, labels, order and recipe the simulated change is the real one, in float32 as users run it."""
    module, shape = network
    x = torch.randn(5, *shape)
    plan = batch_plan(recipe, 5, torch.Generator().manual_seed(1))
    victim = trained(module, x, LABELS, recipe, plan)
    final = simulate(victim, recipe, x, LABELS, plan, adjoint=FullGraph())
    assert float(cosine_distance(subtract(final, victim.theta0), victim.delta)) < 1e-6


def test_batch_order_does_not_matter_in_a_full_batch(tiny):
    victim, recipe, x, labels = tiny
    order, plan = torch.tensor([2, 0, 3, 1]), torch.arange(4).repeat(3, 1)
    a = simulate(victim, recipe, x, labels, plan, adjoint=FullGraph())
    b = simulate(victim, recipe, x[order], labels[order], plan, adjoint=FullGraph())
    assert all(torch.allclose(a[name], b[name]) for name in a)


def test_plan_deals_every_dummy_once_an_epoch():
    plan = batch_plan(Recipe(size=7, lr=1.0, batch_size=3, epochs=2), 7, torch.Generator().manual_seed(0))
    assert plan.shape == (6, 3)
    assert torch.equal(plan[:3], plan[3:])
    assert sorted(plan[:3].flatten().tolist()) == [-1, -1, *range(7)]
    assert batch_plan(Recipe(7, 1.0, 100, 1), 7, torch.Generator()).tolist() == [list(range(7))]


def test_influence_is_the_norm_of_summed_gradients(tiny):
    victim, recipe, x, labels = tiny
    plan = torch.arange(4).repeat(3, 1)
    found = influence(victim, recipe, x, labels, plan)
    total = {name: torch.zeros_like(value) for name, value in victim.theta0.items()}
    for epoch in range(3):
        theta = simulate(victim, recipe, x, labels, plan[:epoch], adjoint=FullGraph())
        leaves = {name: value.detach().requires_grad_() for name, value in theta.items()}
        loss = nn.functional.cross_entropy(victim.logits(leaves, x[1:2]), labels[1:2])
        for name, grad in zip(leaves, torch.autograd.grad(loss, leaves.values()), strict=True):
            total[name] += grad
    assert found.shape == (4,)
    assert torch.isclose(found[1], sum(value.square().sum() for value in total.values()).sqrt())


def test_influence_counts_only_the_batches_of_a_dummy(tiny):
    victim, recipe, x, labels = tiny
    plan = torch.tensor([[0, 1, -1], [0, 1, -1]])
    assert influence(victim, recipe, x, labels, plan)[2:].tolist() == [0, 0]
