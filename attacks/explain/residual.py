"""How much of what layers see of a record lies outside of what their changes span: no label, loss or gradient.

A layer's change is a sum of signals times inputs of records that were trained on, so these lie in what it spans
(docs/decisions/0012-cover.md). With hundreds of records it spans nearly everything, and little is left to tell.
"""

import torch
from torch import Tensor

from ..contract.params import Params
from ..contract.victim import Victim
from ..layers.coverage import outside
from ..layers.decay import decomposed
from ..layers.inputs import Layer, middle, trained
from ..layers.seen import seen_of

HELD = 0.9
"""Share of the squares of a layer's change that the directions hold which are kept."""

AT_ONCE = 8
"""Records that pass the network together."""


class Residuals:
    """What the layers' changes span, against which records are held.

    Args:
        victim: The network, seen in the middle of its training.
        change: Of its parameters, decay undone.
    """

    @torch.no_grad()
    def __init__(self, victim: Victim, change: Params) -> None:
        self.victim, self._point = victim, middle(victim)
        layers = trained(victim, victim.like.new_zeros(1, *victim.shape))
        self._spans = {layer.place: _directions(layer, change) for layer in layers}

    @torch.no_grad()
    def of(self, x: Tensor) -> Tensor:
        """Return (n,) the share in [0, 1] of what layers see of inputs ``x`` (n, ...) outside of it, on average."""
        found = []
        for rows in torch.split(x, AT_ONCE):
            seen = seen_of(self.victim, self._point, rows, self._spans)
            shares = [outside(part, self._spans[place]) for place, part in seen.items()]
            found.append(torch.stack(shares).mean(0) if shares else rows.new_ones(len(rows)))
        return torch.cat(found)


def _directions(layer: Layer, change: Params) -> Tensor:
    """Return (k, width) the orthonormal directions that hold most of the change of a layer."""
    whole = layer.matrix(change).double()
    wide = whole if whole.shape[0] <= whole.shape[1] else whole.T
    values, left = decomposed(wide)
    squares = values.square()
    count = int((squares.cumsum(0) < HELD * squares.sum()).sum()) + 1
    count = min(count, int((values > 1e-7 * values[0]).sum()) or 1)
    if wide is not whole:
        return left[:, :count].T.to(change[layer.weight])
    return ((left[:, :count].T @ whole) / values[:count, None].clamp(min=1e-300)).to(change[layer.weight])
