"""The row space of the data: rank, weight decay, rounding, and the reasons why there is none."""

import dataclasses

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.firstlayer.reduced import projected, reduced
from memaudit.attacks.firstlayer.subspace import first_layer, subspace
from memaudit.attacks.simulation.trainstep import gradient
from tests.conftest import trained


def wide(d: int = 48, width: int = 64, k: int = 4, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(d, width, bias=bias), nn.ReLU(), nn.Linear(width, k))


def victim_of(recipe: Recipe, network: nn.Module | None = None, dtype=torch.float32, shape=(3, 4, 4)):
    torch.manual_seed(0)
    network = wide() if network is None else network
    x, labels = torch.randn(recipe.size, *shape, dtype=dtype), torch.arange(recipe.size) % 4
    order = torch.cat([torch.randperm(recipe.size) for _ in range(recipe.epochs)])
    plan = order.view(-1, recipe.batch_size)
    return trained(network, x, labels, recipe, plan), x


PLAIN = Recipe(size=8, lr=0.1, batch_size=8, epochs=5)
RECIPES = {
    "plain": PLAIN,
    "batches": dataclasses.replace(PLAIN, batch_size=2),
    "momentum": dataclasses.replace(PLAIN, momentum=0.9, lr=0.02),
    "nesterov": dataclasses.replace(PLAIN, momentum=0.9, nesterov=True, lr=0.02, batch_size=4),
    "decay": dataclasses.replace(PLAIN, weight_decay=5e-3),
    "momentum and decay": dataclasses.replace(PLAIN, momentum=0.9, weight_decay=5e-3, lr=0.02, batch_size=4),
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_rows_span_the_data_and_the_rank_is_their_number(name, dtype):
    victim, x = victim_of(RECIPES[name], dtype=dtype)
    found = subspace(victim, RECIPES[name])
    flat = x.flatten(1).double()
    assert found.count == len(found.rows) == 8
    assert float((flat - flat @ found.rows.T @ found.rows).norm() / flat.norm()) < 1e-4
    assert torch.allclose(found.rows @ found.rows.T, torch.eye(8, dtype=torch.float64), atol=1e-10)
    assert found.gap < 1e-2


def test_weight_decay_is_read_off():
    recipe = RECIPES["decay"]
    victim, _ = victim_of(recipe, dtype=torch.float64)
    assert subspace(victim, recipe).shrink == pytest.approx((1 - 0.1 * 5e-3) ** 5, abs=1e-9)


@pytest.mark.parametrize("decay", [5e-3, 5e-2])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_strong_decay_over_many_steps_is_undone(decay, momentum):
    """No gap stands out of the change until most of the decay is undone."""
    recipe = Recipe(
        size=12, lr=0.05 * (1 - 0.8 * momentum), batch_size=12, epochs=60, weight_decay=decay, momentum=momentum
    )
    victim, x = victim_of(recipe, wide(width=100))
    found = subspace(victim, recipe)
    assert found.count == 12
    if not momentum:
        assert found.shrink == pytest.approx((1 - 0.05 * decay) ** 60, abs=1e-6)
    flat = x.flatten(1).double()
    assert float((flat - flat @ found.rows.T @ found.rows).norm() / flat.norm()) < 1e-3


def test_bias_and_weight_see_the_same_signals():
    victim, x = victim_of(RECIPES["decay"], dtype=torch.float64)
    found = subspace(victim, RECIPES["decay"])
    signals = found.change @ torch.linalg.pinv(x.flatten(1))
    assert torch.allclose(signals.sum(1), found.bias_change, atol=1e-8)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float16, 0.02), (torch.bfloat16, 0.15)])
def test_half_precision_still_shows_the_row_space(dtype, limit):
    torch.manual_seed(0)
    network = wide(d=192, width=128).to(dtype).float()
    recipe = dataclasses.replace(PLAIN, lr=0.5)
    victim, x = victim_of(recipe, network, shape=(3, 8, 8))
    rounded = {name: value.to(dtype).float() for name, value in victim.thetaf.items()}
    found = subspace(dataclasses.replace(victim, thetaf=rounded), recipe)
    flat = x.flatten(1).double()
    assert len(found.rows) == 8
    assert float((flat - flat @ found.rows.T @ found.rows).norm() / flat.norm()) < limit


def test_adam_is_refused_with_the_reason():
    victim, _ = victim_of(PLAIN)
    with pytest.raises(Unsupported, match="full rank"):
        subspace(victim, dataclasses.replace(PLAIN, optimizer="adamw"))


def test_more_samples_than_the_layer_can_tell_are_refused():
    recipe = dataclasses.replace(PLAIN, size=80, batch_size=80)
    victim, _ = victim_of(recipe)
    with pytest.raises(Unsupported, match="no gap"):
        subspace(victim, recipe)


def test_one_output_is_refused():
    recipe = dataclasses.replace(PLAIN, size=4, batch_size=4)
    x, labels = torch.randn(4, 3, 4, 4), torch.tensor([0, 1, 1, 0])
    probe = nn.Sequential(nn.Flatten(), nn.Linear(48, 1))
    with pytest.raises(Unsupported, match="one output"):
        subspace(trained(probe, x, labels, recipe, torch.arange(4).repeat(5, 1)), recipe)


@pytest.mark.parametrize("case", ["dead units", "blank pixels", "softmax"])
def test_a_rank_that_the_layer_itself_caps_tells_no_number(case):
    recipe = dataclasses.replace(PLAIN, size=30, batch_size=30)
    x, labels = torch.randn(30, 3, 4, 4), torch.arange(30) % 4
    network = wide()
    if case == "softmax":
        network = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    elif case == "dead units":
        network[1].bias.data[20:] = -100.0
    else:
        x.flatten(1)[:, 20:] = 0.0
    victim = trained(network, x, labels, recipe, torch.arange(30).repeat(5, 1))
    with pytest.raises(Unsupported, match=r"the most that its live units|no gap"):
        subspace(victim, recipe)


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Sequential(nn.Linear(32, 40), nn.ReLU(), nn.Linear(40, 4))

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).flatten(1))


def test_a_trained_layer_before_it_is_refused_and_a_frozen_one_gives_features():
    victim, x = victim_of(PLAIN, Backbone())
    with pytest.raises(Unsupported, match=r"head\.0.*change during training"):
        first_layer(victim)
    network = Backbone()
    network.conv.requires_grad_(False)
    victim, x = victim_of(PLAIN, network)
    frozen = [name for name in victim.theta0 if name.startswith("conv")]
    sides = [{k: v for k, v in side.items() if k not in frozen} for side in (victim.theta0, victim.thetaf)]
    buffers = {name: victim.theta0[name] for name in frozen}
    victim = dataclasses.replace(victim, theta0=sides[0], thetaf=sides[1], buffers=buffers)
    layer = first_layer(victim)
    assert (layer.path, layer.features) == ("head.0", True)
    features = torch.relu(network.conv(x)).flatten(1).double()
    rows = subspace(victim, PLAIN).rows
    assert float((features - features @ rows.T @ rows).norm() / features.norm()) < 1e-4


def test_a_network_without_linear_layers_is_refused():
    network = nn.Sequential(nn.Conv2d(3, 4, 4), nn.Flatten())
    victim, _ = victim_of(PLAIN, network)
    with pytest.raises(Unsupported, match="no trained linear layer"):
        subspace(victim, PLAIN)


@pytest.mark.parametrize("network", [wide(), nn.Linear(48, 4)], ids=["mlp", "alone"])
def test_the_reduced_network_has_the_same_logits_and_gradients(network):
    network = network if isinstance(network, nn.Sequential) else nn.Sequential(nn.Flatten(), network)
    victim, x = victim_of(PLAIN, network, dtype=torch.float64)
    layer = first_layer(victim)
    rows = torch.linalg.qr(x.flatten(1).T).Q.T
    small = reduced(victim, layer, *projected(victim, layer, rows))
    coordinates, labels = x.flatten(1) @ rows.T, torch.arange(8) % 4
    assert torch.allclose(small.logits(small.theta0, coordinates), victim.logits(victim.theta0, x))
    grads = gradient(victim, tuple(victim.theta0.values()), x, labels)
    own = gradient(small, tuple(small.theta0.values()), coordinates, labels)
    for name, a, b in zip(victim.theta0, grads, own, strict=True):
        assert torch.allclose(a @ rows.T if name == layer.name("weight") else a, b, atol=1e-12)
