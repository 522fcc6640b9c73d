import pytest
import torch
from torch import nn
from torch.nn import functional

from memaudit.attacks.simulation.activations import activations, eased, smooth_backward, soft


class Functions(nn.Module):
    """Every way to write a ReLU, one after the other on shifted inputs."""

    def __init__(self):
        super().__init__()
        self.module = nn.ReLU()
        self.inplace = nn.ReLU(inplace=True)

    def forward(self, x):
        ways = (
            self.module, lambda x: self.inplace(x.clone()), torch.relu, functional.relu, lambda x: x.relu(),
            lambda x: x.clone().relu_(), lambda x: torch.relu_(x.clone()), lambda x: functional.relu(x, inplace=False),
        )  # fmt: skip
        return torch.stack([way(x) for way in ways])


@pytest.fixture
def x():
    return torch.linspace(-2, 2, 9, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("alpha", [1.0, 50.0])
def test_smooth_backward_keeps_the_value_and_smooths_the_derivative(x, alpha):
    with activations(smooth_backward(alpha)):
        values = Functions()(x)
    assert torch.equal(values, x.relu().expand(8, -1))
    (slope,) = torch.autograd.grad(values[0].sum(), x, create_graph=True)
    assert torch.allclose(slope, torch.sigmoid(alpha * x))
    (bend,) = torch.autograd.grad(slope.sum(), x)
    inside = torch.sigmoid(alpha * x) * (1 - torch.sigmoid(alpha * x)) * alpha
    assert torch.allclose(bend, inside, atol=1e-10)


def test_soft_replaces_every_relu(x):
    with activations(soft(7.0)):
        values = Functions()(x)
    assert torch.allclose(values, (1 + (7 * x).exp()).log().div(7).expand(8, -1))


def test_a_sharp_softplus_is_the_relu(x):
    assert torch.allclose(soft(1e4)(x), x.relu(), atol=1e-3)


def test_nothing_is_replaced_by_none_or_afterwards(x):
    with activations(None):
        assert torch.equal(Functions()(x), x.relu().expand(8, -1))
    with activations(soft(1.0)):
        pass
    assert torch.equal(functional.relu(x), x.clamp(min=0))


def test_other_functions_are_left_alone(x):
    with activations(soft(1.0)):
        assert torch.equal(torch.tanh(x), x.tanh())
        assert torch.equal(functional.leaky_relu(x, 0.1), torch.where(x > 0, x, 0.1 * x))


def test_the_swap_ends_with_an_exception(x):
    with pytest.raises(RuntimeError), activations(soft(1.0)):
        raise RuntimeError
    assert torch.equal(torch.relu(x), x.clamp(min=0))


def test_smoothing_lets_a_gradient_move_a_dead_unit():
    network = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    nn.init.constant_(network[0].weight, 1.0)
    nn.init.constant_(network[0].bias, -0.05)
    x = torch.zeros(1, 1, requires_grad=True)
    assert torch.autograd.grad(network(x).sum(), x)[0].item() == 0
    with activations(smooth_backward(20.0)):
        value = network(x)
    assert value.item() == 0
    assert torch.autograd.grad(value.sum(), x)[0].item() == pytest.approx(1 / (1 + torch.tensor(1.0).exp()).item())


def test_the_eased_relu_is_the_relu_with_a_smooth_derivative():
    x = torch.linspace(-2, 2, 401, requires_grad=True)
    value = eased(0.5)(x)
    assert torch.allclose(value, torch.relu(x))
    (slope,) = torch.autograd.grad(value.sum(), [x])
    assert torch.allclose(slope, torch.sigmoid(x / (0.5 * x.std())), atol=1e-6)
