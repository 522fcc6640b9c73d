"""A victim that any process can make for itself: what travels are tensors and words, never code."""

from dataclasses import dataclass

import torch

from ...attacks.contract.victim import Normalisation, Victim
from ..checkpoints.pair import CheckpointPair
from .detect import detect
from .victim import placed, victim


@dataclass(frozen=True)
class Ground:
    """What an attack stands on; called, it returns the victim.

    Attributes:
        pair: The two checkpoints.
        model: As in :class:`.request.ScanRequest`; where that names a file, every machine must have it.
        image_size: The same.
        normalisation: Pixels to network inputs.
        masked: Parameters that are not compared.
        device: Where the tensors go.
        victim: What was made of all this in this process; it does not travel, another process makes its own.
    """

    pair: CheckpointPair
    model: str
    image_size: int | None
    normalisation: Normalisation
    masked: frozenset[str]
    device: str
    victim: Victim | None = None

    def __call__(self) -> Victim:
        """Return the victim."""
        if self.victim is not None:
            return self.victim
        architecture, module = detect(self.pair.after.tensors, self.model, self.image_size)
        made = victim(self.pair, architecture, module, self.normalisation)
        return placed(made, architecture, torch.device(self.device), self.masked)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "victim": None}
