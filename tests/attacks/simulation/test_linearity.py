import copy
import math
from itertools import combinations

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import batch_plan, simulate
from memaudit.attacks.simulation.linearity import linearity

RECIPES = {
    "full batch": Recipe(5, 0.2, 5, 6),
    "momentum in mini-batches": Recipe(5, 0.1, 2, 4, momentum=0.9, weight_decay=0.05),
    "adam": Recipe(5, 0.01, 3, 5, optimizer="adam"),
    "batch norm in train mode": Recipe(5, 0.1, 3, 4, batch_norm="train"),
    "adamw": Recipe(5, 0.01, 3, 5, optimizer="adamw", weight_decay=0.1),
}
LABELS = torch.tensor([0, 1, 2, 0, 1])


def seed(number: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def victim_of(module: nn.Module, shape: tuple[int, int, int], k: int = 3) -> Victim:
    module = module.double().eval()
    module(torch.zeros(1, *shape, dtype=torch.float64))
    theta = {name: value.detach().clone() for name, value in module.named_parameters()}
    return Victim(module, theta, theta, dict(module.named_buffers()), shape, k, Images())


def statistics(victim, theta, x) -> dict[str, torch.Tensor]:
    """The mean and variance of what reaches each batch-norm layer in train mode, by torch's own running average."""
    module = copy.deepcopy(victim.module)
    module.load_state_dict({**victim.buffers, **theta})
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    module.train()(x)
    counts = {"bn1": x[:, 0].numel(), "bn2": x[:, 0].numel()}  # running_var is unbiased, normalisation is not
    found = {}
    for name, value in module.named_buffers():
        count = counts[name.split(".")[0]]
        found[name] = value * (count - 1) / count if name.endswith("running_var") else value
    return {name: value for name, value in found.items() if not name.endswith("tracked")}


def unrolled(victim, recipe, x, labels) -> list[float]:
    """The definition: two loops over epochs, every gradient by plain autograd at separately simulated parameters."""
    plan, batches = batch_plan(recipe, len(x), seed()), -(-len(x) // recipe.batch_size)
    thetas = [dict(victim.theta0)]
    for epoch in range(1, recipe.epochs):
        final = simulate(victim, recipe, x, labels, plan[: epoch * batches], adjoint=FullGraph())
        thetas.append({name: final[name] for name in victim.theta0})
    found = []
    for row in range(len(x)):
        grads, batch = [], next(part[part >= 0] for part in plan if row in part)
        for theta in thetas:
            leaves = {name: value.detach().requires_grad_() for name, value in theta.items()}
            observed = statistics(victim, theta, x[batch]) if recipe.batch_norm == "train" else {}
            logits = victim.logits({**observed, **leaves}, x[row : row + 1])
            loss = nn.functional.cross_entropy(logits, labels[row : row + 1])
            grads.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(leaves.values()))]))
        cosines = [float(a @ b / (a.norm() * b.norm())) for a, b in combinations(grads, 2)]
        found.append(sum(cosines) * 2 / (recipe.epochs * (recipe.epochs - 1)))
    return found


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_is_the_mean_cosine_over_all_pairs_of_epochs(network, recipe, chunk):
    module, shape = network
    x, victim = torch.randn(5, *shape, dtype=torch.float64), victim_of(module, shape)
    found = linearity(victim, recipe, x, LABELS, seed(), chunk=chunk)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(unrolled(victim, recipe, x, LABELS), rel=1e-10, abs=1e-12)


def test_a_nearly_frozen_training_is_linear_and_a_violent_one_is_not(network):
    module, shape = network
    x, victim = torch.randn(5, *shape, dtype=torch.float64), victim_of(module, shape)
    gentle = linearity(victim, Recipe(5, 1e-6, 5, 10), x, LABELS, seed())
    assert float(gentle.min()) > 1 - 1e-8
    violent = linearity(victim, Recipe(5, 1.0, 5, 10), x, LABELS, seed())
    assert float(violent.mean()) < 0.95
    assert float(violent.abs().max()) <= 1 + 1e-12


def test_a_linear_classifier_is_more_linear_than_a_deep_network():
    x = torch.randn(6, 3, 2, 2, dtype=torch.float64)
    labels, recipe = torch.tensor([0, 1, 0, 1, 0, 1]), Recipe(6, 0.5, 6, 20)
    # With two classes p - y keeps its direction, so that every gradient of a linear classifier does.
    linear = victim_of(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (3, 2, 2), 2)
    assert linearity(linear, recipe, x, labels, seed()).tolist() == pytest.approx([1.0] * 6)
    torch.manual_seed(1)
    layers = (nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    deep = victim_of(nn.Sequential(nn.Flatten(), *layers), (3, 2, 2), 2)
    assert float(linearity(deep, recipe, x, labels, seed()).mean()) < 0.98


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 99])
def test_chunks_change_nothing(network, chunk):
    module, shape = network
    x, victim, recipe = torch.randn(5, *shape, dtype=torch.float64), victim_of(module, shape), RECIPES["full batch"]
    whole = linearity(victim, recipe, x, LABELS, seed())
    assert torch.allclose(linearity(victim, recipe, x, LABELS, seed(), chunk=chunk), whole, rtol=1e-12, atol=0)


def test_same_seed_same_numbers_and_no_global_draw(tiny):
    victim, _, x, labels = tiny
    recipe, state = Recipe(4, 0.1, 2, 4), torch.get_rng_state()
    first, second, other = (linearity(victim, recipe, x, labels, seed(number)) for number in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)  # other mini-batches
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(value.requires_grad for value in victim.theta0.values())


class Branching(nn.Module):
    """Asks for a number in its forward pass, which vmap refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.gain, self.unused = nn.Linear(12, 3), nn.Parameter(torch.tensor(2.0)), nn.Linear(2, 2)

    def forward(self, x):
        x = x.flatten(1)
        return self.gain * self.layer(x) if float(x.sum()) > 0 else self.layer(x.relu())


def test_a_network_that_vmap_cannot_treat_goes_one_by_one():
    x, victim = torch.randn(5, 3, 2, 2, dtype=torch.float64), victim_of(Branching(), (3, 2, 2))
    recipe = RECIPES["full batch"]
    one = linearity(victim, recipe, x, LABELS, seed(), chunk=1)
    assert torch.equal(linearity(victim, recipe, x, LABELS, seed(), chunk=4), one)
    assert bool(one.isfinite().all())


@pytest.mark.parametrize("chunk", [1, 3])
def test_a_sample_without_gradient_counts_as_zero(chunk):
    victim = victim_of(nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)), (1, 2, 2), 2)
    x = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    x[1] = 0  # no input, no bias: no gradient
    found = linearity(victim, Recipe(3, 0.1, 3, 4), x, torch.tensor([0, 1, 1]), seed(), chunk=chunk)
    assert found.tolist() == pytest.approx([1.0, 0.0, 1.0])


def test_a_training_that_diverges_is_not_a_number(tiny):
    victim, _, x, labels = tiny
    found = linearity(victim, Recipe(4, 1e200, 4, 5), x, labels, seed())
    assert math.isnan(float(found.mean()))


def test_one_epoch_is_refused(tiny):
    victim, _, x, labels = tiny
    with pytest.raises(ValueError, match="two"):
        linearity(victim, Recipe(4, 0.1, 4, 1), x, labels, seed())


def test_progress_counts_samples(tiny):
    victim, recipe, x, labels = tiny
    heard = []
    linearity(victim, recipe, x, labels, seed(), lambda *pair: heard.append(pair), chunk=3)
    assert heard == [(3, 4), (4, 4)]
