import pytest
import torch
from torch import Tensor

from memaudit.attacks.adjoints import ADJOINTS, FullGraph, Stepwise, choose, saved_bytes
from memaudit.attacks.base import Recipe
from memaudit.attacks.dynamics import batch_plan, chain, simulate
from memaudit.attacks.params import cosine_distance, subtract

from ..conftest import trained

RECIPES = {
    "plain": Recipe(5, 0.1, 2, 2),
    "momentum": Recipe(5, 0.1, 2, 2, momentum=0.9, weight_decay=1e-2),
    "nesterov": Recipe(5, 0.1, 5, 5, momentum=0.8, nesterov=True),
}


def hypergradient(adjoint, victim, recipe, x, labels, plan, clip=float("inf")) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    final = simulate(victim, recipe, x, labels, plan, adjoint=adjoint, clip=clip)
    loss = cosine_distance(subtract(final, victim.theta0), victim.delta)
    return loss.detach(), torch.autograd.grad(loss, x)[0]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("clip", [float("inf"), 0.5])
def test_stepwise_is_full_graph(network, recipe, clip):
    module, shape = network
    real, dummy = torch.randn(2, 5, *shape, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, 1])
    plan = batch_plan(recipe, 5, torch.Generator().manual_seed(1))
    victim = trained(module, real, labels, recipe, plan)
    full = hypergradient(FullGraph(), victim, recipe, dummy, labels, plan, clip)
    step = hypergradient(Stepwise(), victim, recipe, dummy, labels, plan, clip)
    assert torch.equal(full[0], step[0])
    assert torch.allclose(full[1], step[1], rtol=1e-10, atol=1e-14)
    assert full[1].norm() > 1e-4


@pytest.mark.parametrize("adjoint", ADJOINTS.values(), ids=ADJOINTS)
def test_hypergradient_is_the_finite_difference(tiny, adjoint):
    victim, recipe, x, labels = tiny
    plan = torch.arange(4).repeat(3, 1)
    x = x + 0.3 * torch.randn_like(x)
    _, grad = hypergradient(adjoint, victim, recipe, x, labels, plan)
    direction = torch.randn_like(x)
    ahead, _ = hypergradient(adjoint, victim, recipe, x + 1e-6 * direction, labels, plan)
    behind, _ = hypergradient(adjoint, victim, recipe, x - 1e-6 * direction, labels, plan)
    assert torch.isclose((grad * direction).sum(), (ahead - behind) / 2e-6, rtol=1e-5)


@pytest.mark.parametrize("adjoint", ADJOINTS.values(), ids=ADJOINTS)
def test_the_first_state_gets_its_gradient_too(adjoint):
    start, pull = torch.ones(3, dtype=torch.float64, requires_grad=True), torch.arange(3.0, dtype=torch.float64)
    (end,) = adjoint.run(lambda s, i: (s[0] * 2 + i[0] * s[0] ** 2,), (start,), [(pull,), (pull,)])
    (grad,) = torch.autograd.grad(end.sum(), start)
    inner = 2 * start + pull * start**2
    assert torch.allclose(grad, ((2 + 2 * pull * inner) * (2 + 2 * pull * start)).detach())


@pytest.mark.parametrize("adjoint", ADJOINTS.values(), ids=ADJOINTS)
def test_no_steps_is_the_identity(adjoint):
    start = torch.ones(2)
    (end,) = adjoint.run(lambda s, i: s, (start,), [])
    assert torch.equal(end, start)


def test_choice_follows_the_predicted_memory(tiny):
    victim, recipe, x, labels = tiny
    pieces = chain(victim, recipe, x.requires_grad_(), labels, torch.arange(4).repeat(3, 1))
    need = 3 * saved_bytes(pieces[0], pieces[1], pieces[2][0])
    assert need > sum(value.nbytes for value in victim.theta0.values())
    assert choose(*pieces, limit=need) == "full"
    assert choose(*pieces, limit=need - 1) == "stepwise"
