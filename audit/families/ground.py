"""A victim that any process can make for itself: what travels are tensors and words, never code."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from ...attacks.contract.medium import Medium
from ...attacks.contract.victim import Victim
from ..checkpoints.pair import CheckpointPair
from .base import Architecture
from .beside import Beside
from .lora import network
from .victim import placed, victim


@dataclass(frozen=True)
class Ground:
    """What an attack stands on; called, it returns the victim.

    Attributes:
        pair: The two checkpoints.
        model: As in :class:`.request.ScanRequest`; where that names a file, every machine must have it.
        image_size: The same.
        beside: What lies beside the weights.
        medium: What records the network's inputs stand for.
        masked: Parameters that are not compared.
        device: Where the tensors go.
        shape: Of one input.
        victim: What was made of all this in this process; it does not travel, another process makes its own.
    """

    pair: CheckpointPair
    model: str
    image_size: int | None
    beside: Beside
    medium: Medium
    masked: frozenset[str]
    device: str
    shape: tuple[int, ...]
    victim: Victim | None = None

    def __call__(self) -> Victim:
        """Return the victim."""
        if self.victim is not None:
            return self.victim
        architecture, module = self.network()
        architecture = replace(architecture, shape=self.shape)
        made = victim(self.pair, architecture, module, self.medium)
        return placed(made, self.pair, architecture, torch.device(self.device), self.masked)

    def network(self) -> tuple[Architecture, nn.Module]:
        """Return the network, without weights."""
        return network(self.pair, self.model, self.image_size, self.beside)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "victim": None}
