"""What one sentence would do to the network: the signals that its tokens receive, at one point of the training."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..contract.params import Params
from ..contract.victim import Victim
from ..simulation.losses import sample_losses
from .medium import sentences_of

_BATCH = 4096
"""Tokens that are computed at once."""


@dataclass(frozen=True)
class Probe:
    """Signals at the outputs of modules that give one row for each token.

    Attributes:
        victim: The network.
        params: Its parameters, such as those half-way through training.
        word: The table of word embeddings.
        paths: The modules.
    """

    victim: Victim
    params: Params
    word: str
    paths: tuple[str, ...]

    def signals(self, ids: Tensor, labels: Tensor, gaps: Tensor | None = None) -> Tensor:
        """Return (b, L, F) derivatives of the loss of sentences by what the modules give, side by side.

        Args:
            ids: (b, L) tokens; places that hold the padding are as if they were not there.
            labels: (b,) classes.
            gaps: (b, L) places at which the mean of all tokens stands in place of theirs; ``None`` for none.
        """
        if gaps is None:
            gaps = torch.zeros_like(ids, dtype=torch.bool)
        length = _used(ids, sentences_of(self.victim).pad)
        count = max(_BATCH // length, 1)
        parts = zip(*(torch.split(part, count) for part in (ids[:, :length], labels, gaps[:, :length])), strict=True)
        found = torch.cat([self._run(*part) for part in parts])
        there = (ids[:, :length] != sentences_of(self.victim).pad).to(found.device)
        found = found * there[..., None]
        return torch.cat([found, found.new_zeros(len(ids), ids.shape[1] - length, found.shape[2])], 1)

    def _run(self, ids: Tensor, labels: Tensor, gaps: Tensor) -> Tensor:
        device = self.victim.like.device
        made: dict[str, Tensor] = {}

        def begin(module: object, given: object, result: Tensor) -> Tensor:
            mean = self.params[f"{self.word}.weight"].mean(0)
            made[self.word] = torch.where(gaps.to(device)[..., None], mean, result.detach()).requires_grad_(True)
            return made[self.word]

        def note(path: str) -> RemovableHandle:
            module = self.victim.module.get_submodule(path)
            return module.register_forward_hook(lambda m, given, result: made.update({path: result}))

        hooks = [self.victim.module.get_submodule(self.word).register_forward_hook(begin)]
        hooks += [note(path) for path in self.paths if path != self.word]
        try:
            with torch.enable_grad():
                logits = self.victim.logits(self.params, ids.to(self.victim.like))
                loss = sample_losses(logits, labels.to(device)).sum()
                found = torch.autograd.grad(loss, [made[path] for path in self.paths])
        finally:
            for hook in hooks:
                hook.remove()
        return torch.cat(found, -1).detach()


def _used(ids: Tensor, pad: int) -> int:
    """Return how many places, from the first, any of the sentences uses."""
    places = (ids != pad).any(0).nonzero()
    return int(places.max()) + 1 if len(places) else 1
