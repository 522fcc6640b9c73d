import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from memaudit.attacks.contract.attack import generator
from memaudit.attacks.contract.params import cosine_distance, subtract
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.simulation.adjoints import ADJOINTS, FullGraph, Segmented, Stepwise
from memaudit.attacks.simulation.dynamics import batch_plan, chain, simulate
from memaudit.attacks.simulation.losses import Objective
from memaudit.attacks.simulation.trainstep import TrainingStep, gradient

from ...conftest import Residual, trained

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


@pytest.mark.parametrize("clip", [float("inf"), 0.5])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize(
    "adjoint",
    [Segmented(2), Segmented(3, forward=True), Segmented(100), Segmented(1, forward=True, samples=2)],
    ids=str,
)
def test_segments_and_samples_change_nothing(adjoint, recipe, clip):
    real, dummy = torch.randn(2, 5, 1, 6, 6, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, 1])
    plan = batch_plan(recipe, 5, torch.Generator().manual_seed(1))
    victim = trained(Residual(), real, labels, recipe, plan)
    full = hypergradient(FullGraph(), victim, recipe, dummy, labels, plan, clip)
    other = hypergradient(adjoint, victim, recipe, dummy, labels, plan, clip)
    assert torch.isclose(full[0], other[0], rtol=1e-12)
    assert torch.allclose(full[1], other[1], rtol=1e-10, atol=1e-14)


class Cubed(torch.autograd.Function):
    """An activation that can be differentiated twice, but only backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, bar):
        return 3 * ctx.saved_tensors[0] ** 2 * bar


class Reverse(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Cubed.apply(x)


@pytest.mark.parametrize("adjoint", ADJOINTS.values(), ids=ADJOINTS)
def test_an_operation_without_forward_derivative_is_differentiated_backward(adjoint):
    real, dummy = torch.randn(2, 5, 3, 2, 2, dtype=torch.float64)
    labels, plan, recipe = torch.tensor([0, 1, 2, 0, 1]), torch.arange(5).repeat(3, 1), Recipe(5, 0.1, 5, 3)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), Reverse(), nn.Linear(6, 3))
    victim = trained(module, real, labels, recipe, plan)
    full = hypergradient(FullGraph(), victim, recipe, dummy, labels, plan)
    other = hypergradient(adjoint, victim, recipe, dummy, labels, plan)
    assert torch.allclose(full[1], other[1], rtol=1e-10, atol=1e-14)


def test_a_step_of_training_is_pulled_back_forward_over_reverse(tiny):
    victim, recipe, x, labels = tiny
    step, state, inputs = chain(victim, recipe, x.requires_grad_(), labels, torch.arange(4).repeat(3, 1))
    calls = []
    original = TrainingStep.pull_back
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingStep, "pull_back", lambda self, *args: calls.append(1) or original(self, *args))
        final = ADJOINTS["forward"].run(step, state, inputs)
        torch.autograd.grad(final[0].sum(), x)
    assert len(calls) == 3


def test_the_gradient_over_versions_is_the_mean_of_those_of_each(network):
    module, shape = network
    x, labels = torch.rand(5, *shape, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    victim = trained(module, x, labels, RECIPES["plain"], torch.arange(5)[None])
    theta = tuple(victim.theta0.values())
    found = gradient(victim, theta, x, labels, goal=Objective(views=4))
    versions = victim.medium.versions(x, 4, generator(0)).unflatten(0, (5, 4))
    each = [gradient(victim, theta, versions[:, number], labels) for number in range(4)]
    for value, *parts in zip(found, *each, strict=True):
        torch.testing.assert_close(value, sum(parts) / 4)
    assert all(map(torch.equal, each[0], gradient(victim, theta, x, labels, goal=Objective(views=1))))
    assert not torch.allclose(found[0], each[0][0])


@pytest.mark.parametrize("adjoint", ADJOINTS.values(), ids=ADJOINTS)
def test_the_learning_rate_alone_may_be_wanted(tiny, adjoint):
    victim, recipe, x, labels = tiny
    plan, grads = torch.arange(4).repeat(3, 1), []
    for rule in (FullGraph(), adjoint):
        scale = torch.ones((), dtype=x.dtype, requires_grad=True)
        final = simulate(victim, recipe, x, labels, plan, adjoint=rule, scale=scale)
        grads += torch.autograd.grad(sum(value.square().sum() for value in victim.change(final).values()), scale)
    assert torch.isclose(*grads, rtol=1e-10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned host memory needs a CUDA device")
@pytest.mark.parametrize("name", ["forward", "host", "segmented", "smallest"])
def test_states_in_host_memory_give_the_same_gradient(tiny, name):
    victim, recipe, x, labels = tiny
    move = {key: {k: v.cuda() for k, v in getattr(victim, key).items()} for key in ("theta0", "thetaf", "buffers")}
    victim, plan = replace(victim, **move), torch.arange(4).repeat(5, 1)
    full = hypergradient(FullGraph(), victim, recipe, x.cuda(), labels, plan)
    other = hypergradient(ADJOINTS[name], victim, recipe, x.cuda(), labels, plan)
    assert torch.allclose(full[1], other[1], rtol=1e-8, atol=1e-12)


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


def test_threads_take_turns_with_forward_derivatives():
    real, dummy = torch.randn(2, 5, 1, 6, 6, dtype=torch.float64)
    labels, recipe = torch.tensor([0, 1, 2, 0, 1]), RECIPES["plain"]
    plan = batch_plan(recipe, 5, torch.Generator().manual_seed(1))
    victim = trained(Residual(), real, labels, recipe, plan)

    def work(subject: Victim) -> Tensor:
        return hypergradient(Stepwise(forward=True), subject, recipe, dummy, labels, plan)[1]

    alone, copies = work(victim), [replace(victim, module=copy.deepcopy(victim.module)) for _ in range(16)]
    with ThreadPoolExecutor(4) as threads:
        assert all(torch.equal(alone, found) for found in threads.map(work, copies))
