"""Which records a change betrays: gradients of single records, and the regression of a change on them."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from memaudit.attacks.contract.attack import Unsupported, generator
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.explain import gradients as module
from memaudit.attacks.explain.gradients import Gradients, joined
from memaudit.attacks.explain.regression import NODES, regress
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import PLAIN
from memaudit.attacks.layers.inputs import middle
from memaudit.attacks.simulation.losses import CROSS_ENTROPY, Objective, training_loss


class Net(nn.Module):
    """A convolution, a linear layer on positions and one on vectors, which is used once, and one that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.tokens = nn.Linear(16, 5)
        self.vectors = nn.Linear(15, 7)
        self.twice = nn.Linear(7, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, x):
        x = torch.relu(self.conv(x)).flatten(2)
        x = torch.tanh(self.vectors(self.tokens(x).flatten(1)))
        return self.head(torch.tanh(self.twice(torch.tanh(self.twice(x)))))


def victim_of(network, x, y, steps=3, lr=0.3, shape=(1, 4, 4)):
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr)
    for _ in range(steps):
        optimizer.zero_grad()
        training_loss(network(x), y).backward()
        optimizer.step()
    after = {name: value.detach().clone() for name, value in network.named_parameters()}
    classes = network(x[:1]).shape[1]
    return Victim(network.eval(), before, after, {}, shape, classes, Images(PLAIN))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    x, y = torch.rand(12, 1, 4, 4), torch.arange(12) % 4
    return victim_of(Net(), x[:6], y[:6]), x, y


def truth(victim, x, y, point, goal=CROSS_ENTROPY):
    """The gradients of each record by plain autograd."""
    rows = []
    for i in range(len(x)):
        params = {name: value.clone().requires_grad_() for name, value in point.items()}
        loss = training_loss(functional_call(victim.module, params, (x[i : i + 1],)), y[i : i + 1], goal)
        rows.append(torch.autograd.grad(loss, list(params.values())))
    return {name: torch.stack([row[i] for row in rows]).flatten(1).double() for i, name in enumerate(point)}


@pytest.mark.parametrize("goal", [Objective(), Objective("bce"), Objective("mse"), Objective(smoothing=0.2)])
def test_products_are_those_of_the_gradients(small, goal):
    victim, x, y = small
    reader = Gradients(victim, victim.delta, goal)
    assert list(reader.layers) == ["conv", "tokens", "vectors", "head"]
    assert reader.vectors == {"vectors", "head"}, "of the others a gradient is built"
    found, real = reader.read(victim.theta0, x[:, None], y), truth(victim, x, y, victim.theta0, goal)
    assert list(found) == list(victim.delta)
    for name, part in found.items():
        torch.testing.assert_close(part.products(part), real[name] @ real[name].T, rtol=1e-4, atol=1e-7)
        along = real[name] @ victim.delta[name].flatten().double()
        torch.testing.assert_close(part.along, along, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(part.square, real[name].square().sum(1), rtol=1e-4, atol=1e-9)


def test_a_network_that_forbids_batches_of_gradients_is_read_one_by_one(small):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 4)

        def forward(self, x):
            x = self.layer(x.flatten(1))
            return x * (1.0 if x.sum().item() > -1e9 else 0.0)  # vmap refuses item()

    _, x, y = small
    victim = victim_of(Odd(), x[:6], y[:6])
    found, real = Gradients(victim, victim.delta).read(victim.theta0, x[:, None], y), truth(victim, x, y, victim.theta0)
    torch.testing.assert_close(found["layer.weight"].square, real["layer.weight"].square().sum(1), rtol=1e-4, atol=1e-9)


def test_a_network_that_cannot_be_differentiated_is_refused_in_one_sentence(small):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 4)
            self.frozen = False

        def forward(self, x):
            if self.frozen:
                raise RuntimeError("no gradient\nhere")
            return self.layer(x.flatten(1))

    _, x, y = small
    victim = victim_of(Fixed(), x[:6], y[:6])
    reader = Gradients(victim, victim.delta)
    victim.module.frozen = True
    with pytest.raises(Unsupported, match=r"cannot be computed of this network \(no gradient\)"):
        reader.read(victim.theta0, x[:, None], y)


def test_folded_products_are_right_on_average_and_what_the_change_needs_is_exact(small, monkeypatch):
    victim, x, y = small
    exact = Gradients(victim, victim.delta).read(victim.theta0, x[:, None], y)["tokens.weight"]
    monkeypatch.setattr(module, "NARROWEST", 16)
    reader = Gradients(victim, victim.delta, entries=64)
    folded = reader.read(victim.theta0, x[:, None], y)["tokens.weight"]
    assert folded.left.shape == (12, reader.width)
    assert exact.left.shape == (12, 80)
    torch.testing.assert_close(folded.along, exact.along)
    torch.testing.assert_close(folded.products(folded).diagonal(), exact.square)
    lengths = exact.square.sqrt()
    error = (folded.products(folded) - exact.products(exact)) / (lengths[:, None] * lengths)
    assert 0 < error.std() < 2 / reader.width**0.5


def test_entries_that_fill_no_whole_fold_are_added_to_its_beginning(small, monkeypatch):
    victim, x, y = small
    exact = Gradients(victim, victim.delta).read(victim.theta0, x[:, None], y)["conv.weight"].left
    monkeypatch.setattr(module, "NARROWEST", 16)
    reader = Gradients(victim, victim.delta, entries=64)
    folded = reader.read(victim.theta0, x[:, None], y)["conv.weight"].left
    assert (exact.shape[1], reader.width) == (27, 16)
    signed = exact * reader._signs["conv.weight"]
    expected = signed[:, :16].clone()
    expected[:, :11] += signed[:, 16:]
    torch.testing.assert_close(folded, expected)


def test_views_are_averaged(small):
    victim, x, y = small
    drawn = victim.medium.versions(x, 3, generator(0)).unflatten(0, (12, 3))
    found = Gradients(victim, victim.delta, Objective(views=3)).read(victim.theta0, drawn, y)
    each = [truth(victim, drawn[:, i], y, victim.theta0)["head.weight"] for i in range(3)]
    torch.testing.assert_close(found["head.weight"].square, (sum(each) / 3).square().sum(1), rtol=1e-4, atol=1e-9)


def trained(n, steps, lr, batch=0):
    torch.manual_seed(1)
    x, y = torch.rand(2 * n, 1, 8, 8), torch.randint(4, (2 * n,))
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 60), nn.ReLU(), nn.Linear(60, 4))
    return victim_of(network, x[:n], y[:n], steps, lr, (1, 8, 8)), x, y


def nodes_of(victim, x, y):
    reader = Gradients(victim, victim.delta)
    return [reader.read(middle(victim, node), x[:, None], y) for node in NODES]


def test_records_that_were_trained_on_stand_out():
    victim, x, y = trained(40, 20, 0.2)
    found = regress(nodes_of(victim, x, y), victim.delta)
    own, others = found.scores[:40], found.scores[40:]
    area = (own[:, None] > others[None]).double().mean()
    assert area > 0.99
    assert 0.5 < found.explained < 1
    cosines = found.cosines
    assert (cosines[:40, None] > cosines[None, 40:]).double().mean() < area, "one gradient alone says less"
    assert bool((found.cosines.abs() <= 1).all())
    assert bool(((found.leverage >= 0) & (found.leverage <= 1)).all())
    torch.testing.assert_close(found.alike.diagonal(), torch.ones(80).double(), rtol=1e-3, atol=1e-3)


def test_the_order_of_records_changes_nothing():
    victim, x, y = trained(20, 5, 0.2)
    order = torch.randperm(40, generator=generator(3))
    one = regress(nodes_of(victim, x, y), victim.delta)
    two = regress(nodes_of(victim, x[order], y[order]), victim.delta)
    torch.testing.assert_close(two.scores, one.scores[order], rtol=1e-3, atol=1e-4)


def test_a_record_without_a_gradient_gets_no_weight():
    victim, x, y = trained(20, 5, 0.2)
    nodes = nodes_of(victim, x, y)
    none = [{name: joined([part]) for name, part in node.items()} for node in nodes]
    for node in none:
        for part in node.values():
            part.along[3], part.square[3] = 0.0, 0.0
            part.left[3] = 0.0
    found = regress(none, victim.delta)
    assert found.scores.isfinite().all()
    assert found.cosines[3] == 0
