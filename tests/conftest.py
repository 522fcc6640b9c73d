"""Fixtures that all tests share: tiny networks, and victims trained by plain torch.optim.SGD."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from memaudit.attacks.base import Recipe, Victim

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _one_thread():
    """Tests run tiny networks: one thread, and the same numbers whatever ran before."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


def mlp(d: int = 12, k: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(d, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, k))


def conv(k: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(k),
    )


class Residual(nn.Module):
    """A residual network with batch norm, small enough for exact checks."""

    def __init__(self, k: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, k)
        for norm in (self.bn1, self.bn2):
            nn.init.normal_(norm.running_mean, std=0.1)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(x + self.bn2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "mlp": (mlp, (3, 2, 2)),
    "conv": (conv, (1, 6, 6)),
    "residual": (Residual, (1, 6, 6)),
}


def trained(
    network: nn.Module, x: Tensor, labels: Tensor, recipe: Recipe, plan: Tensor, clip: float | None = None
) -> Victim:
    """Train ``network`` in eval mode with torch.optim.SGD on the batches of ``plan``; return it as a victim."""
    network = network.to(x.dtype).eval()
    network(x[:1])
    theta0 = {name: value.detach().clone() for name, value in network.named_parameters()}
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        dampening=recipe.dampening,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    for row in plan:
        rows = row[row >= 0]
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[rows]), labels[rows]).backward()
        if clip:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
    thetaf = {name: value.detach().clone() for name, value in network.named_parameters()}
    return Victim(network, theta0, thetaf, dict(network.named_buffers()), tuple(x.shape[1:]), 3)


@pytest.fixture(params=list(NETWORKS))
def network(request) -> tuple[nn.Module, tuple[int, int, int]]:
    make, shape = NETWORKS[request.param]
    return make(), shape


@pytest.fixture
def tiny() -> tuple[Victim, Recipe, Tensor, Tensor]:
    """An MLP victim in float64, its recipe, its four training images and their labels."""
    recipe = Recipe(size=4, lr=0.1, batch_size=4, epochs=3)
    x, labels = torch.randn(4, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    victim = trained(mlp(), x, labels, recipe, torch.arange(4).repeat(3, 1))
    return victim, recipe, x, labels
