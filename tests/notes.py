"""A made-up kind of record: notes of three words, and a network that takes the numbers of words."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Entry, Victim
from memaudit.attacks.simulation.losses import training_loss

WORDS, LENGTH, WIDTH = 7, 3, 4


@dataclass(frozen=True)
class Notes:
    """Notes (n, 3) of word numbers, which the network sees as rows (n, 3, 4) of a table."""

    kind: ClassVar[str] = "note"
    table: Tensor = field(repr=False)

    def variables(self, noise, parametrisation):
        if parametrisation != "auto":
            raise Unsupported(f"There is no parametrisation {parametrisation} of notes.")
        return {"shift": noise}

    def inputs(self, variables):
        return self.table.mean(0) + 2 * variables["shift"]

    def roughness(self, x, chroma=1.0):
        return (torch.linalg.vector_norm(x, dim=-1).mean() - torch.linalg.vector_norm(self.table, dim=-1).mean()) ** 2

    def excess(self, x):
        return (x - self.within(x)).square().mean()

    def lookalikes(self, variables, stride):
        return []

    def versions(self, x, count, gen):
        if count > 1:
            raise Unsupported("There are no versions of notes.")
        return x

    def within(self, x):
        return self.encode(self.records(x))

    def records(self, x):
        return torch.cdist(x.detach(), self.table).argmin(-1)

    def encode(self, records):
        return self.table[records]


def network(k: int = 3) -> nn.Module:
    flat = LENGTH * WIDTH
    return nn.Sequential(
        nn.Embedding(WORDS, WIDTH), nn.Flatten(), nn.Linear(flat, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(),
        nn.Linear(12, k),
    )  # fmt: skip


def read(notes: Tensor, labels: Tensor, recipe: Recipe, k: int = 3) -> Victim:
    """Train a network on the numbers of words with torch's own SGD, its table frozen; return it as a victim."""
    module = network(k).double().eval()
    module[0].weight.requires_grad_(False)
    learned = {name: value for name, value in module.named_parameters() if value.requires_grad}
    theta0 = {name: value.detach().clone() for name, value in learned.items()}
    optimizer = torch.optim.SGD(learned.values(), lr=recipe.lr)
    for _ in range(recipe.steps):
        optimizer.zero_grad()
        training_loss(module(notes), labels).backward()
        optimizer.step()
    thetaf = {name: value.detach().clone() for name, value in learned.items()}
    table = module[0].weight.detach().clone()
    entry = Entry("0", torch.zeros(1, LENGTH, dtype=torch.long))
    return Victim(module, theta0, thetaf, {"0.weight": table}, (LENGTH, WIDTH), k, Notes(table), entry=entry)
