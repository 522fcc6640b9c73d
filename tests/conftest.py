"""Fixtures that all tests share: tiny networks, and victims trained by plain torch."""

import multiprocessing
import os
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images

SCRIPT = Path(sysconfig.get_path("scripts")) / "memaudit"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


STATE = tempfile.TemporaryDirectory(prefix="memaudit-state-")
"""States of tests are sealed with a key of their own, also by processes that tests start."""

os.environ["XDG_STATE_HOME"] = STATE.name  # before a test module copies the environment


def elsewhere(work: Callable[..., None], *told: object) -> None:
    """Have a new process do ``work``, and raise what it raises.

    For tests of memory: what this process has freed and not given back is used again without asking the kernel.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:  # tells of a process that died
        pool.submit(work, *told).result()


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


def optimizer_of(parameters: Iterable[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    """Return torch's own optimiser."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=recipe.lr,
            momentum=recipe.momentum,
            dampening=recipe.dampening,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    betas = recipe.beta1, recipe.beta2
    return kind(parameters, lr=recipe.lr, betas=betas, eps=recipe.eps, weight_decay=recipe.weight_decay)


def scheduler_of(optimizer: torch.optim.Optimizer, recipe: Recipe) -> LRScheduler:
    """Return torch's own learning-rate schedule, to be stepped after every batch."""
    rest = max(recipe.steps - recipe.warmup, 1)
    main = {
        "constant": lambda: ConstantLR(optimizer, 1.0),
        "linear": lambda: LinearLR(optimizer, 1.0, 0.0, rest),
        "cosine": lambda: CosineAnnealingLR(optimizer, rest),
    }[recipe.schedule]()
    if not recipe.warmup:
        return main
    rise = LinearLR(optimizer, 1 / (recipe.warmup + 1), 1.0, recipe.warmup)
    return SequentialLR(optimizer, [rise, main], [recipe.warmup])


def loss_of(recipe: Recipe, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a recipe by torch's own parts; labels (n,), or (n, k) where each logit has one of its own."""
    classes = logits.shape[1]
    targets = labels if labels.dim() == 2 else labels[:, None] if classes == 1 else one_hot(labels, classes)
    if recipe.loss == "mse":
        return nn.MSELoss()(logits, targets.to(logits))
    if recipe.loss == "bce" or logits.shape[1] == 1:
        return nn.BCEWithLogitsLoss()(logits, targets.to(logits))
    return nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)(logits, labels)


def trained(
    network: nn.Module, x: Tensor, labels: Tensor, recipe: Recipe, plan: Tensor, clip: float | None = None
) -> Victim:
    """Train ``network`` on the batches of ``plan`` with torch's own parts as ``recipe`` says; return it as a victim.

    Everything but batch norm is in eval mode. ``clip`` replaces the recipe's.
    """
    network = network.to(x.dtype).eval()
    classes = network(x[:1]).shape[1]
    theta0 = {name: value.detach().clone() for name, value in network.named_parameters()}
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    optimizer = optimizer_of(network.parameters(), recipe)
    scheduler, clip = scheduler_of(optimizer, recipe), recipe.clip if clip is None else clip
    for layer in network.modules():
        layer.training = isinstance(layer, _BatchNorm) and recipe.batch_norm == "train"
    for row in plan:
        rows = row[row >= 0]
        optimizer.zero_grad()
        loss_of(recipe, network(x[rows]), labels[rows]).backward()
        if clip:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        scheduler.step()
    thetaf = {name: value.detach().clone() for name, value in network.named_parameters()}
    running = {name: value.clone() for name, value in network.named_buffers() if "running" in name}
    running = running if recipe.batch_norm == "train" else {}
    return Victim(network.eval(), theta0, thetaf, buffers, tuple(x.shape[1:]), classes, Images(), running=running)


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
