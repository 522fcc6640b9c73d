import math

import pytest
import torch
from torch import Tensor, nn

from memaudit.attacks.contract.attack import generator
from memaudit.attacks.contract.params import cosine_distance, norm, subtract
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.optimise.distances import running_error
from memaudit.attacks.simulation.adjoints import ADJOINTS, FullGraph
from memaudit.attacks.simulation.dynamics import batch_plan, influence, simulate
from memaudit.attacks.simulation.trainstep import gradient

from ...conftest import Residual, mlp, trained

LABELS = torch.tensor([0, 1, 2, 0, 1])
RECIPES = {  # 50 or 51 steps each
    "full batch": Recipe(5, 0.1, 5, 50),
    "mini-batches": Recipe(5, 0.05, 2, 17),
    "momentum": Recipe(5, 0.05, 2, 17, momentum=0.9),
    "dampening": Recipe(5, 0.05, 2, 17, momentum=0.9, dampening=0.3),
    "nesterov": Recipe(5, 0.05, 2, 17, momentum=0.9, nesterov=True),
    "weight decay": Recipe(5, 0.05, 5, 50, weight_decay=0.05),
    "all of SGD": Recipe(
        5, 0.05, 2, 17, momentum=0.8, nesterov=True, weight_decay=0.05, schedule="cosine", warmup=5, clip=0.5
    ),
    "cosine": Recipe(5, 0.1, 5, 50, momentum=0.5, schedule="cosine"),
    "warm-up": Recipe(5, 0.1, 2, 17, warmup=7),
    "linear warm-up": Recipe(5, 0.1, 2, 17, schedule="linear", warmup=7),
    "label smoothing": Recipe(5, 0.1, 5, 50, label_smoothing=0.2),
    "a logistic loss a class": Recipe(5, 0.1, 2, 17, loss="bce", momentum=0.9),
    "squared errors": Recipe(5, 0.1, 5, 50, loss="mse"),
    "squared errors under adam": Recipe(5, 0.01, 2, 17, loss="mse", optimizer="adam"),
    "clip": Recipe(5, 0.05, 2, 17, momentum=0.9, clip=0.3),
    "adam": Recipe(5, 0.01, 2, 17, optimizer="adam"),
    "adam with weight decay": Recipe(5, 0.01, 2, 17, optimizer="adam", weight_decay=0.05, beta1=0.8, beta2=0.99),
    "adamw": Recipe(5, 0.01, 2, 17, optimizer="adamw", weight_decay=0.3, eps=1e-5),
    "all of AdamW": Recipe(
        5, 0.01, 2, 17, optimizer="adamw", weight_decay=0.3, schedule="linear", warmup=5, clip=0.5, beta2=0.95
    ),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_simulation_equals_torch(network, recipe):
    module, shape = network
    x = torch.randn(5, *shape, dtype=torch.float64)
    plan = batch_plan(recipe, 5, torch.Generator().manual_seed(1))
    victim = trained(module, x, LABELS, recipe, plan)
    with torch.no_grad():
        final = simulate(victim, recipe, x, LABELS, plan, adjoint=FullGraph())
    assert len(plan) in (50, 51)
    for name, value in victim.thetaf.items():
        assert torch.allclose(final[name], value, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("limit", ["recipe", "attack", "both"])
def test_clip_equals_torch_clip_grad_norm(network, limit):
    module, shape = network
    x = torch.randn(5, *shape, dtype=torch.float64)
    recipe = Recipe(5, 0.05, 2, 7, momentum=0.9, clip={"recipe": 0.3, "attack": 0.0, "both": 4.0}[limit])
    plan = batch_plan(recipe, 5, torch.Generator())
    victim = trained(module, x, LABELS, recipe, plan, clip=0.3)
    attack = math.inf if limit == "recipe" else 0.3
    with torch.no_grad():
        final = simulate(victim, recipe, x, LABELS, plan, adjoint=FullGraph(), clip=attack)
        unclipped = simulate(victim, Recipe(5, 0.05, 2, 7, momentum=0.9), x, LABELS, plan, adjoint=FullGraph())
    for name, value in victim.thetaf.items():
        assert torch.allclose(final[name], value, rtol=1e-10, atol=1e-13), name
        assert not torch.equal(final[name], unclipped[name])


TRAIN_MODE = {
    "batch norm": Recipe(5, 0.05, 2, 17, momentum=0.9, batch_norm="train"),
    "batch norm under AdamW": Recipe(
        5, 0.01, 5, 50, optimizer="adamw", weight_decay=0.1, schedule="cosine", warmup=5, batch_norm="train"
    ),
}


ORACLES = TRAIN_MODE | {
    name: RECIPES[name] for name in ("full batch", "all of SGD", "linear warm-up", "adam", "all of AdamW")
}


@pytest.mark.parametrize("recipe", ORACLES.values(), ids=ORACLES)
def test_oracle_the_true_data_explain_the_change(network, recipe):
    """With true images, labels, order and recipe the simulated change is the real one, in float32 as users run it."""
    module, shape = network
    x = torch.randn(5, *shape)
    plan = batch_plan(recipe, 5, torch.Generator().manual_seed(1))
    victim = trained(module, x, LABELS, recipe, plan)
    with torch.no_grad():
        change = victim.change(simulate(victim, recipe, x, LABELS, plan, adjoint=FullGraph()))
    assert float(cosine_distance(change, victim.delta)) < 1e-6
    assert float(norm(subtract(change, victim.delta)) / norm(victim.delta)) < 1e-4


HYPER = {
    "adam": Recipe(5, 0.02, 2, 2, optimizer="adam", weight_decay=0.01),
    "adamw": Recipe(5, 0.02, 2, 2, optimizer="adamw", weight_decay=0.1, schedule="linear", warmup=2),
    "schedule": Recipe(5, 0.1, 5, 6, momentum=0.9, schedule="cosine", warmup=2),
    "clip": Recipe(5, 0.1, 2, 2, momentum=0.9, clip=0.3),
    "batch norm": Recipe(5, 0.1, 2, 2, momentum=0.9, nesterov=True, batch_norm="train"),
    "batch norm under Adam": Recipe(5, 0.02, 5, 5, optimizer="adam", clip=0.5, batch_norm="train"),
    "versions": Recipe(5, 0.1, 2, 2, momentum=0.9, views=3),
    "versions under batch norm": Recipe(5, 0.1, 5, 4, views=3, batch_norm="train"),
}


def objective(victim, recipe, plan, adjoint, x, labels, scale) -> Tensor:
    final = simulate(victim, recipe, x, labels, plan, adjoint=adjoint, scale=scale)
    loss = cosine_distance(victim.change(final), victim.delta)
    return loss + running_error(final, victim.running, victim.buffers) if victim.running else loss


def dummies(module, shape, recipe):
    real, x = torch.randn(2, 5, *shape, dtype=torch.float64)
    soft, scale = torch.rand(5, 3, dtype=torch.float64).softmax(1), torch.tensor(0.9, dtype=torch.float64)
    plan = batch_plan(recipe, 5, torch.Generator().manual_seed(1))
    victim = trained(module, real, LABELS, recipe, plan)
    return victim, plan, [value.requires_grad_() for value in (x, soft, scale)]


@pytest.mark.parametrize("recipe", HYPER.values(), ids=HYPER)
def test_all_adjoints_agree(network, recipe):
    """In value and in the gradients with respect to images, class probabilities and learning rate."""
    module, shape = network
    victim, plan, leaves = dummies(module, shape, recipe)
    assert bool(victim.running) == (isinstance(module, Residual) and recipe.batch_norm == "train")
    full = objective(victim, recipe, plan, FullGraph(), *leaves)
    wanted = torch.autograd.grad(full, leaves)
    for name, adjoint in ADJOINTS.items():
        other = objective(victim, recipe, plan, adjoint, *leaves)
        assert torch.isclose(full, other, rtol=1e-12), name
        for a, b in zip(wanted, torch.autograd.grad(other, leaves), strict=True):
            assert torch.allclose(a, b, rtol=1e-10, atol=1e-13 * float(a.abs().max())), name
            assert float(a.norm()) > 1e-5


@pytest.mark.parametrize("adjoint", ADJOINTS.values(), ids=ADJOINTS)
@pytest.mark.parametrize("recipe", HYPER.values(), ids=HYPER)
def test_hypergradients_are_central_differences(recipe, adjoint):
    smooth = Recipe(**{**vars(recipe), "eps": 1e-3})  # else Adam's update is too curved for a difference
    victim, plan, leaves = dummies(Residual(), (1, 6, 6), smooth)
    grads = torch.autograd.grad(objective(victim, smooth, plan, adjoint, *leaves), leaves)
    for index, grad in enumerate(grads):
        direction = torch.randn_like(grad)
        moved = []
        for side in (1e-6, -1e-6):
            values = [leaf.detach() for leaf in leaves]
            values[index] = values[index] + side * direction
            with torch.no_grad():
                moved.append(objective(victim, smooth, plan, adjoint, *values))
        assert torch.isclose((grad * direction).sum(), (moved[0] - moved[1]) / 2e-6, rtol=1e-5), index


@pytest.mark.parametrize("adjoint", ADJOINTS.values(), ids=ADJOINTS)
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_a_weight_without_gradient_leaves_the_hypergradient_finite(optimizer, adjoint):
    """Adam divides by a root that is zero, with an infinite derivative, where a dead ReLU lets nothing through."""
    module, recipe = mlp(), Recipe(5, 0.01, 5, 4, optimizer=optimizer)
    with torch.no_grad():
        module[1].bias[:4] = -100.0
    plan = batch_plan(recipe, 5, torch.Generator())
    victim = trained(module, torch.randn(5, 3, 2, 2), LABELS, recipe, plan)
    assert float(victim.delta["1.weight"][:4].abs().max()) == 0
    x = torch.randn(5, 3, 2, 2, requires_grad=True)
    loss = cosine_distance(victim.change(simulate(victim, recipe, x, LABELS, plan, adjoint=adjoint)), victim.delta)
    (grad,) = torch.autograd.grad(loss, x)
    assert bool(grad.isfinite().all())
    assert float(grad.norm()) > 0


def test_class_probabilities_of_certainty_are_class_indices(tiny):
    victim, recipe, x, labels = tiny
    plan = torch.arange(4).repeat(3, 1)
    a = simulate(victim, recipe, x, labels, plan, adjoint=FullGraph())
    b = simulate(victim, recipe, x, nn.functional.one_hot(labels, 3).to(x), plan, adjoint=FullGraph())
    assert all(torch.allclose(a[name], b[name], rtol=1e-12) for name in a)


def test_scale_multiplies_the_learning_rate(tiny):
    victim, _, x, labels = tiny
    plan, half = torch.arange(4).repeat(3, 1), torch.tensor(0.5, dtype=torch.float64)
    for options in ({}, {"optimizer": "adamw", "weight_decay": 0.1}):
        full, slow = Recipe(4, 0.1, 4, 3, **options), Recipe(4, 0.05, 4, 3, **options)
        a = simulate(victim, full, x, labels, plan, adjoint=FullGraph(), scale=half)
        b = simulate(victim, slow, x, labels, plan, adjoint=FullGraph())
        assert all(torch.allclose(a[name], b[name], rtol=1e-12) for name in a)


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


def test_influence_counts_dummies_by_all_their_versions(tiny):
    victim, _, x, labels = tiny
    recipe, plan = Recipe(4, 0.1, 4, 1, views=6), torch.arange(4)[None]
    found = influence(victim, recipe, x, labels, plan)
    assert found.shape == (4,)
    versions = victim.medium.versions(x[1:2], 6, generator(0))
    grads = gradient(victim, tuple(victim.theta0.values()), versions, labels[1].expand(6))
    assert torch.isclose(found[1], torch.stack([grad.detach().square().sum() for grad in grads]).sum().sqrt())
    plain = influence(victim, Recipe(4, 0.1, 4, 1), x, labels, plan)
    assert not torch.allclose(found, plain)


def test_influence_counts_only_the_batches_of_a_dummy(tiny):
    victim, recipe, x, labels = tiny
    plan = torch.tensor([[0, 1, -1], [0, 1, -1]])
    assert influence(victim, recipe, x, labels, plan)[2:].tolist() == [0, 0]


@pytest.mark.parametrize("adjoint", ["stepwise", "segmented", "smallest"])
def test_influence_is_the_same_in_less_memory(tiny, adjoint):
    victim, recipe, x, labels = tiny
    plan = batch_plan(recipe, len(x), torch.Generator().manual_seed(0))
    wanted = influence(victim, recipe, x, labels, plan)
    torch.testing.assert_close(influence(victim, recipe, x, labels, plan, ADJOINTS[adjoint]), wanted)
