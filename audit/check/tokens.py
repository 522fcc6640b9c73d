"""How much of what moved in a table of tokens records name, such as the word embeddings of a text model."""

import math
from typing import cast

import torch
from torch import Tensor

from ...attacks.contract.attack import Unsupported
from ...attacks.contract.victim import Victim
from ...attacks.text.medium import Tokens
from ...attacks.text.tables import moved, tables
from .measures import LEAST, Measure


def by_tokens(victim: Victim, records: Tensor) -> Measure | None:
    """Return the logarithm of the share of tokens that training saw and records do not name.

    Exact where it says anything: every token of a training record moves its row. ``None`` where records are no
    numbers of tokens, no table of tokens was trained, or ``records`` (n, L) hold a token that training did not see:
    then these are no training records, or not read as they were.
    """
    if records.is_floating_point():
        return None
    try:
        name = f"{tables(victim).word}.weight"
    except Unsupported:
        return None
    if name not in victim.delta:
        return None
    seen = moved(victim.theta0[name], victim.thetaf[name]).cpu()
    pad = cast("Tokens", victim.medium).pad
    seen[pad] = False
    if not seen[_named(records, pad)].all():
        return None

    def measure(records: Tensor) -> float:
        found = _named(records, pad)
        known = seen[found]
        share = float(known.sum()) / max(int(seen.sum()), 1) * float(known.float().mean())
        return math.log(max(1 - share, LEAST))

    return measure


def _named(records: Tensor, pad: int) -> Tensor:
    """Return the numbers of the tokens in records (n, L), each once."""
    found: Tensor = torch.unique(records.cpu())
    return found[found != pad]
