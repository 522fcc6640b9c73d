"""What records the inputs of a network stand for, by the kind that its family names."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from ...attacks.contract.medium import Medium
from ...attacks.images.medium import Images
from ...attacks.images.normalisation import Normalisation
from ...attacks.text.medium import Tokens
from ...attacks.text.tables import moved
from ..checkpoints.pair import CheckpointPair
from .base import Architecture, fitted
from .beside import Beside

LENGTH = "length"
"""The fact in :attr:`.base.Architecture.assumed` that the change of the position embeddings settles."""


def medium_of(
    pair: CheckpointPair, architecture: Architecture, module: nn.Module, beside: Beside, scale: Normalisation
) -> tuple[Architecture, Medium]:
    """Return the medium of a network, and the network with the shape of its inputs.

    Args:
        pair: The two checkpoints.
        architecture: What was detected.
        module: Its network.
        beside: What lies beside the weights.
        scale: Of images.

    Raises:
        UnknownArchitecture: What the medium needs does not lie beside the weights.
    """
    if architecture.medium == "text":
        return _sentences(pair, architecture, module, beside)
    return architecture, Images(scale)


def _sentences(
    pair: CheckpointPair, architecture: Architecture, module: nn.Module, beside: Beside
) -> tuple[Architecture, Tokens]:
    layout = architecture.layout
    before = fitted(pair.before.tensors, module)
    text = beside.tokenizer()
    first, last = _ends(text)
    length = _reached(pair, before, module, layout)
    width = before[layout["word"]].shape[1]
    if length:
        rest = tuple(fact for fact in architecture.assumed if fact != LENGTH)
        architecture = replace(architecture, shape=(length, width), assumed=rest)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    medium = Tokens(architecture.shape[0], layout["pad"], first, last, before[layout["word"]], text, digest)
    return architecture, medium


def _reached(pair: CheckpointPair, before: Mapping[str, Tensor], module: nn.Module, layout: Mapping[str, Any]) -> int:
    """Return how many positions training reached, counted from the first; 0 where that does not show."""
    name = layout["place"]
    if not name:
        return 0
    after = fitted(pair.after.tensors, module)
    rows = moved(before[name], after[name])[layout["offset"] :].nonzero().flatten()
    return int(rows[-1]) + 1 if len(rows) else 0


def _ends(text: str) -> tuple[int, int]:
    """Return the tokens that begin and end every sentence, -1 for none."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_str(text)
    made.no_padding()
    made.no_truncation()
    empty = made.encode("").ids
    return (empty[0], empty[-1]) if len(empty) == 2 else (-1, -1)
