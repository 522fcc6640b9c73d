"""A small vision transformer, under the names of several libraries, and victims of it."""

import torch
from torch import Tensor, nn

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim

from .conftest import trained

SHAPE = (3, 12, 12)


class Block(nn.Module):
    """A transformer block with attention written out, which has all derivatives on all devices."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm1(x)).chunk(3, -1)
        weights = (query @ key.transpose(1, 2) / x.shape[-1] ** 0.5).softmax(-1)
        x = x + self.out(weights @ value)
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Vit(nn.Module):
    """Patches of 4 x 4, so nine of them behind ``prefix`` tokens."""

    def __init__(self, dim: int = 32, k: int = 3, prefix: int = 1, blocks: int = 2) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, stride=4)
        self.tokens = nn.Parameter(0.1 * torch.randn(1, prefix, dim))
        self.place = nn.Parameter(0.1 * torch.randn(1, prefix + 9, dim))
        self.blocks = nn.ModuleList([Block(dim) for _ in range(blocks)])
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, k)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.proj(x).flatten(2).transpose(1, 2)
        seen = torch.cat([self.tokens.expand(len(x), -1, -1), seen], 1) + self.place
        for block in self.blocks:
            seen = block(seen)
        return self.head(self.norm(seen)[:, 0] if self.tokens.shape[1] else self.norm(seen).mean(1))


def pictures(count: int, seed: int = 0) -> Tensor:
    """Return smooth images (count, 3, 12, 12) in [0, 1], float64."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return nn.functional.interpolate(coarse, size=SHAPE[1:], mode="bilinear")


def subject(
    size: int = 1, steps: int = 5, network: nn.Module | None = None, **options
) -> tuple[Victim, Recipe, Tensor]:
    """Return a victim, its recipe and its training images."""
    recipe = Recipe(size=size, lr=options.pop("lr", 0.05), batch_size=size, epochs=steps, **options)
    x, labels = pictures(size), torch.arange(size) % 3
    network = network or Vit()
    return trained(network, x, labels, recipe, torch.arange(size).repeat(steps, 1)), recipe, x
