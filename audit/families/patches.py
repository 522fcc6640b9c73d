"""What the tensors of a vision transformer (Dosovitskiy et al., https://arxiv.org/abs/2010.11929) show of its sizes."""

import math
from collections.abc import Sequence
from itertools import count as numbers
from itertools import takewhile
from typing import NamedTuple

from torch import Tensor

from ...attacks.contract.params import Params

HEADS = "attention_heads"
"""The fact in :attr:`.base.Architecture.assumed` that the number of attention heads is the usual one for the width."""

_PUBLISHED = {
    (192, 12): ("Ti", 3), (384, 12): ("S", 6), (768, 12): ("B", 12), (1024, 24): ("L", 16), (1280, 32): ("H", 16),
}  # fmt: skip
"""Letter and heads of the published sizes, by width and layers."""

_USUAL = 64
"""Numbers of a head, where they divide the width and make more than one head."""


class Sizes(NamedTuple):
    """Channels of an image, side of a patch and of the image in pixels, width, layers, width between, heads."""

    channels: int
    patch: int
    image: int
    width: int
    layers: int
    between: int
    heads: int

    @property
    def title(self) -> str:
        """The name, for people."""
        letter, heads = _PUBLISHED.get((self.width, self.layers), ("", 0))
        if letter and heads == self.heads:
            return f"ViT-{letter}/{self.patch}"
        return f"ViT, {self.layers} layers x {self.width}, patches of {self.patch}, {self.heads} heads"

    @property
    def assumed(self) -> tuple[str, ...]:
        """Facts that the tensors do not show: those of a size that nobody published."""
        return () if self.title.startswith("ViT-") else (HEADS,)


def sizes(tensors: Params, embedding: str, places: str, block: str, extra: Sequence[int]) -> Sizes | None:
    """Return the sizes of a vision transformer; None where the tensors show none.

    Args:
        tensors: By name.
        embedding: Name of the patch embedding's weight, (width, c, patch, patch).
        places: Name of the position embedding, (1, tokens, width).
        block: Name of the first weight of the MLP of a block, with ``{}`` for its number.
        extra: Tokens that are no patches, each count that is possible.
    """
    weight, table, first = (tensors.get(name) for name in (embedding, places, block.format(0)))
    if weight is None or table is None or first is None or weight.ndim != 4 or table.ndim != 3 or first.ndim != 2:
        return None
    width, channels, patch, other = weight.shape
    side = next((side for count in extra if (side := _side(table, count))), 0)
    if patch != other or not side or not width * channels * patch or table.shape[2] != width:
        return None
    layers = sum(1 for _ in takewhile(tensors.__contains__, (block.format(index) for index in numbers())))
    return Sizes(channels, patch, patch * side, width, layers, len(first), _heads(width, layers))


def _side(table: Tensor, extra: int) -> int:
    """Return the patches along a side of a square image, 0 where there is no such square."""
    side = math.isqrt(max(table.shape[1] - extra, 0))
    return side if side * side + extra == table.shape[1] else 0


def _heads(width: int, layers: int) -> int:
    if (width, layers) in _PUBLISHED:
        return _PUBLISHED[width, layers][1]
    usual = width // _USUAL if width % _USUAL == 0 else 0
    return usual if usual > 1 else next(heads for heads in (4, 3, 2, 1) if width % heads == 0)
