"""Which tokens are worth trying where: how much more a sentence would explain, to first order (HotFlip, Ebrahimi 2018).

The signals of a sentence are derivatives by its embeddings. How what they explain changes with an embedding is one more
derivative, for all places at once; times the difference of two rows of the table it promises what another token brings.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .evidence import Evidence


def promised(
    evidence: Evidence, ids: Tensor, label: int, gaps: Sequence[int], wanted: Tensor, own: Tensor | None = None
) -> Tensor:
    """Return (L, t) how much more of what is wanted a sentence would explain with each token at each place.

    In gaps it is taken that the mean of all tokens stands.

    Args:
        evidence: Tokens, and the point of the training.
        ids: (L,) a sentence.
        label: Its class.
        gaps: Places that hold nothing and are to be filled.
        wanted: (L, F) the signals that it should explain; rows of zeros do not count.
        own: (t, F) what is wanted of each token itself, wherever it stands; ``None`` where that does not count.
    """
    probe = evidence.probe
    table = probe.params[f"{probe.word}.weight"][evidence.tokens.to(probe.victim.like.device)]
    where = torch.zeros(len(ids), dtype=torch.bool)
    where[list(gaps)] = True
    some = torch.where(where, evidence.tokens[0], ids)
    embedded, signals = probe.differentiable(some, label, table.mean(0), where)
    wanted = wanted.to(signals)
    counted = (wanted != 0).any(-1, keepdim=True)
    inner, size = -(signals * wanted).sum(), (signals * counted).square().sum()
    slope = torch.autograd.grad(inner * inner.detach().abs() / size.clamp_min(1e-30), embedded)[0][0]
    with torch.no_grad():
        gains = slope @ table.T - (slope * embedded[0]).sum(-1, keepdim=True)
        if own is not None:
            change = (signals * wanted).sum(-1, keepdim=True) - signals @ own.to(signals).T
            gains = gains + 2 * inner / size.clamp_min(1e-30) * change
    return gains.to(evidence.signals)
