import copy
import warnings

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.optimise.distances import running_error
from memaudit.attacks.simulation import batchnorm
from memaudit.attacks.simulation.adjoints import ADJOINTS, FullGraph
from memaudit.attacks.simulation.coarse import coarser
from memaudit.attacks.simulation.dynamics import batch_plan, influence, simulate

from ...conftest import Residual, trained

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def flat() -> nn.Module:
    """BatchNorm1d, and dropout that must stay off; no bias before batch norm, whose gradient is rounding noise."""
    first, second = nn.Linear(12, 8, bias=False), nn.Linear(8, 6, bias=False)
    layers = first, nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), second, nn.BatchNorm1d(6), nn.ReLU()
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(6, 3))


NETWORKS = {"2d": (Residual, (1, 6, 6)), "1d": (flat, (3, 2, 2))}
RECIPES = {
    "sgd": Recipe(6, 0.1, 3, 10, momentum=0.9, weight_decay=0.01, batch_norm="train"),
    "adamw": Recipe(6, 0.01, 3, 10, optimizer="adamw", schedule="cosine", warmup=3, clip=1.0, batch_norm="train"),
    "uneven batches": Recipe(6, 0.1, 4, 10, batch_norm="train"),
}


@pytest.fixture(params=list(NETWORKS))
def normed(request):
    make, shape = NETWORKS[request.param]
    return make(), shape


def with_momentum(module: nn.Module, momentum: float | None) -> nn.Module:
    for index, layer in enumerate(batchnorm.layers(module).values()):
        layer.momentum = momentum
        layer.num_batches_tracked.fill_(5 + index)  # a checkpoint's counter rarely starts from zero
    return module


@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_parameters_and_running_statistics_equal_torch(normed, recipe, momentum):
    module, shape = normed
    x = torch.randn(6, *shape, dtype=torch.float64)
    plan = batch_plan(recipe, 6, torch.Generator().manual_seed(1))
    victim = trained(with_momentum(module, momentum), x, LABELS, recipe, plan)
    with torch.no_grad():
        final = simulate(victim, recipe, x, LABELS, plan, adjoint=FullGraph())
    assert len(plan) == 20
    assert set(final) == {*victim.theta0, *victim.running}
    assert list(victim.running) == batchnorm.statistics(module)
    for name, value in {**victim.thetaf, **victim.running}.items():
        assert torch.allclose(final[name], value, rtol=1e-9, atol=1e-12), name
    for name, value in victim.running.items():
        assert not torch.allclose(value, victim.buffers[name], rtol=1e-3), name


@pytest.mark.parametrize("adjoint", ADJOINTS.values(), ids=ADJOINTS)
def test_the_module_is_as_before(normed, adjoint):
    module, shape = normed
    recipe, x = RECIPES["sgd"], torch.randn(6, *shape)
    plan = batch_plan(recipe, 6, torch.Generator())
    victim = trained(module, x, LABELS, recipe, plan)
    state = copy.deepcopy(module.state_dict())
    given = {name: value.clone() for name, value in victim.buffers.items()}
    modes = {name: (part.training, getattr(part, "track_running_stats", None)) for name, part in module.named_modules()}
    x.requires_grad_()
    sum(value.sum() for value in simulate(victim, recipe, x, LABELS, plan, adjoint=adjoint).values()).backward()
    influence(victim, recipe, x.detach(), LABELS, plan)
    for name, part in module.named_modules():
        assert (part.training, getattr(part, "track_running_stats", None)) == modes[name]
        assert not part._forward_pre_hooks
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(torch.equal(value, given[name]) for name, value in victim.buffers.items())
    assert not any(value.requires_grad for value in victim.buffers.values())


@pytest.mark.parametrize("adjoint", ADJOINTS.values(), ids=ADJOINTS)
def test_one_value_a_channel_is_refused_in_a_sentence(adjoint):
    module, x = flat(), torch.randn(6, 3, 2, 2)
    victim = trained(module, x, LABELS, RECIPES["sgd"], torch.arange(6).repeat(2, 1))
    recipe = Recipe(5, 0.1, 4, 2, batch_norm="train")  # the last batch of an epoch is a single sample
    plan = batch_plan(recipe, 5, torch.Generator())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Unsupported, match=r"cannot take a batch of 1 .*\. Give another --batch-size\.") as caught:
            simulate(victim, recipe, x[:5], LABELS[:5], plan, adjoint=adjoint)
    assert "\n" not in str(caught.value)
    assert not any(part.training or part._forward_pre_hooks for part in module.modules())
    assert all(layer.track_running_stats for layer in batchnorm.layers(module).values())


def test_eval_mode_moves_no_statistics(normed):
    module, shape = normed
    recipe, x = Recipe(6, 0.1, 3, 2), torch.randn(6, *shape)
    plan = batch_plan(recipe, 6, torch.Generator())
    victim = trained(module, x, LABELS, recipe, plan)
    assert victim.running == {}
    assert set(simulate(victim, recipe, x, LABELS, plan, adjoint=FullGraph())) == set(victim.theta0)


def test_batch_statistics_as_buffers_normalise_as_the_batch(normed):
    module, shape = normed
    module, x = module.double().eval(), torch.randn(6, *shape, dtype=torch.float64)
    with torch.no_grad():
        with batchnorm.train_mode(module) as seen:
            logits = module(x)
        assert not torch.allclose(module(x), logits)
        found = torch.func.functional_call(module, batchnorm.as_buffers(seen), (x,))
    assert torch.allclose(found, logits, rtol=1e-10)


def test_influence_takes_the_statistics_of_the_batch_as_constant(normed):
    """That is, to the gradient of each loss with what the batch showed put in place of the running statistics."""
    module, shape = normed
    recipe, x = Recipe(6, 0.1, 6, 1, batch_norm="train"), torch.randn(6, *shape, dtype=torch.float64)
    victim = trained(module, x, LABELS, recipe, torch.arange(6)[None])
    found = influence(victim, recipe, x, LABELS, torch.arange(6)[None])
    with torch.no_grad(), batchnorm.train_mode(module) as seen:
        victim.logits(victim.theta0, x)
    leaves = {name: value.clone().requires_grad_() for name, value in victim.theta0.items()}
    logits = victim.logits({**batchnorm.as_buffers(seen), **leaves}, x)
    losses = nn.functional.cross_entropy(logits, LABELS, reduction="none")
    for row, loss in enumerate(losses):
        grads = torch.autograd.grad(loss, leaves.values(), retain_graph=True)
        assert torch.isclose(found[row], sum(grad.square().sum() for grad in grads).sqrt())


def test_a_layer_that_is_not_reached_keeps_its_statistics():
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.used, self.idle = nn.Linear(12, 3), nn.BatchNorm1d(3), nn.BatchNorm1d(3)

        def forward(self, x):
            return self.used(self.fc(x.flatten(1)))

    recipe, x = Recipe(6, 0.1, 3, 2, batch_norm="train"), torch.randn(6, 3, 2, 2)
    plan = batch_plan(recipe, 6, torch.Generator())
    module = Partly()
    victim = trained(module, x, LABELS, Recipe(6, 0.1, 3, 2), plan)
    for adjoint in ADJOINTS.values():
        x.requires_grad_()
        final = simulate(victim, recipe, x, LABELS, plan, adjoint=adjoint)
        assert torch.equal(final["idle.running_mean"], victim.buffers["idle.running_mean"])
        assert not torch.equal(final["used.running_mean"], victim.buffers["used.running_mean"])
        assert bool(torch.autograd.grad(final["used.weight"].sum(), x)[0].isfinite().all())


def test_a_coarse_simulation_that_is_stretched_forgets_as_much():
    """What running statistics have forgotten is a matter of steps, and a coarse simulation takes fewer."""
    module, (recipe, x) = Residual(), (Recipe(6, 0.02, 6, 20, batch_norm="train"), torch.randn(6, 1, 6, 6))
    plan = batch_plan(recipe, 6, torch.Generator().manual_seed(1))
    victim = trained(module, x.double(), LABELS, recipe, plan)
    short = coarser(recipe, 5)

    def missed(times):
        with torch.no_grad(), batchnorm.stretched(victim.module, times):
            final = simulate(victim, short, x.double(), LABELS, plan[: short.steps], adjoint=FullGraph())
        return float(running_error(final, victim.running, victim.buffers))

    assert missed(recipe.steps / short.steps) < missed(1) / 5


@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_stretch_ends_with_its_block(momentum):
    module = with_momentum(Residual(), momentum)
    with batchnorm.stretched(module, 4):
        shares = [layer.momentum for layer in batchnorm.layers(module).values()]
        assert shares == [pytest.approx(1 - 0.9**4) if momentum else None] * len(shares)
    assert {layer.momentum for layer in batchnorm.layers(module).values()} == {momentum}
