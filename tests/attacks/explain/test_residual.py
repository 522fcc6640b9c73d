import pytest
import torch
from torch import nn

from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.explain.residual import Residuals
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import PLAIN


def trained(network, shape, steps=1):
    torch.manual_seed(0)
    x, y = torch.rand(12, *shape), torch.arange(12) % 4
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    for _ in range(steps):
        network.zero_grad()
        nn.functional.cross_entropy(network(x[:4]), y[:4]).backward()
        with torch.no_grad():
            for value in network.parameters():
                value -= 0.05 * value.grad
    after = {name: value.detach().clone() for name, value in network.named_parameters()}
    return Victim(network.eval(), before, after, {}, shape, 4, Images(PLAIN)), x


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(48, 30), nn.ReLU(), nn.Linear(30, 4)), (3, 4, 4)),
        (
            nn.Sequential(
                nn.Conv2d(8, 16, 3, groups=2), nn.ReLU(), nn.Conv2d(16, 40, 2), nn.Flatten(), nn.Linear(40, 4)
            ),
            (8, 4, 4),
        ),
    ],
)
def test_records_that_were_trained_on_lie_inside_the_change(network, shape):
    victim, x = trained(network, shape)
    found = Residuals(victim, victim.delta).of(x)
    assert found.shape == (12,)
    assert bool(((found >= 0) & (found <= 1)).all())
    assert found[:4].mean() < found[4:].mean() - found.std() / 2


def test_a_change_of_one_direction_holds_that_direction():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    x = torch.eye(6).view(6, 1, 2, 3)
    after = {**before, "1.weight": before["1.weight"] + torch.outer(torch.ones(4), x[2].flatten())}
    victim = Victim(network.eval(), before, after, {}, (1, 2, 3), 4, Images(PLAIN))
    found = Residuals(victim, victim.delta).of(x)
    assert found.argmin() == 2
    torch.testing.assert_close(found, torch.tensor([1.0, 1, 0, 1, 1, 1]))
