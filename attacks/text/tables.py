"""Where the numbers of tokens enter a network: its tables of words and places, and the first layers behind them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..contract.attack import Unsupported
from ..contract.victim import Victim
from .medium import sentences_of

_TRIED = 3
"""Positions of the sentence on which a network is tried."""

_SOME = 3
"""Number of the first of them: small enough for any table, and no padding."""

STILL = 0.25
"""Share of a table's rows, at least, that training did not reach, for weight decay to be told from training."""

_ROUNDINGS = 8.0
"""A row moved if its largest change is more than this many times that of the rows that moved least."""


@dataclass(frozen=True)
class Tables:
    """Paths of modules.

    Attributes:
        word: The embedding that is fed the numbers of the tokens.
        place: The embedding that is fed the places of the tokens; empty where there is none.
        offset: Row of that table at which sentences begin.
        first: Linear layers that see the embeddings before tokens meet: of a transformer query, key and value.
    """

    word: str
    place: str
    offset: int
    first: tuple[str, ...]

    def value(self) -> str:
        """Return the last of the first layers: what it gives is what other tokens see of a token."""
        return self.first[-1] if self.first else ""


def tables(victim: Victim) -> Tables:
    """Find the tables by running the network on a few tokens.

    Raises:
        Unsupported: No embedding is fed the numbers of tokens.
    """
    ids = torch.arange(_TRIED, device=victim.like.device)[None] + _SOME
    fed: dict[str, Tensor] = {}
    linear: list[tuple[str, Tensor]] = []

    def note(path: str, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.Embedding):
            fed[path] = given[0].detach()
        elif given[0].ndim == 3:
            linear.append((path, given[0].detach()))

    with _Hooks(victim, note), torch.no_grad():
        victim.logits(victim.theta0, ids.to(victim.like))
    word = next((path for path, got in fed.items() if torch.equal(got.flatten(), ids.flatten())), "")
    if not word:
        raise Unsupported("no embedding of the network is fed the numbers of tokens.")
    place, offset = _place(fed, word)
    first = tuple(path for path, got in linear if torch.equal(got, linear[0][1]))
    return Tables(word, place, offset, first)


def _place(fed: dict[str, Tensor], word: str) -> tuple[str, int]:
    """Return the table of places, and its first row: it is fed numbers that rise by one."""
    for path, got in fed.items():
        rows = got.flatten()[:_TRIED]
        if path != word and len(rows) == _TRIED and bool((rows.diff() == 1).all()):
            return path, int(rows[0])
    return "", 0


def legible(victim: Victim) -> bool:
    """Return whether the change shows tokens: the table of words, or the layers behind it, moved.

    Raises:
        Unsupported: The network is not one of tokens.
    """
    sentences_of(victim)
    found = tables(victim)
    names = [f"{found.word}.weight", *(f"{path}.weight" for path in found.first)]
    return any(name in victim.theta0 for name in names)


Note = Callable[[str, nn.Module, tuple[Tensor, ...]], None]
"""Hears of a module that runs: its path, itself, and what it is given."""


class _Hooks:
    """Tell ``note`` of every embedding and linear layer that runs inside the ``with`` block."""

    def __init__(self, victim: Victim, note: Note) -> None:
        self.victim, self.note = victim, note
        self.made: list[RemovableHandle] = []

    def __enter__(self) -> None:
        for path, module in self.victim.module.named_modules():
            if isinstance(module, nn.Embedding | nn.Linear):
                self.made.append(module.register_forward_pre_hook(lambda m, a, path=path: self.note(path, m, a)))

    def __exit__(self, *_: object) -> None:
        for hook in self.made:
            hook.remove()


def shrinkage(before: Tensor, after: Tensor) -> float:
    """Return the factor by which weight decay alone scaled the rows (V, D) of a table.

    Rows that training did not reach share it, to rounding: where the factors of rows lie closest, that is.
    """
    power = before.square().sum(1)
    ratios = ((before * after).sum(1)[power > 0] / power[power > 0]).sort().values
    if not len(ratios):
        return 1.0
    count = max(int(STILL * len(ratios)), 1)
    spans = ratios[count - 1 :] - ratios[: len(ratios) - count + 1]
    start = int(spans.argmin())
    return float(ratios[start : start + count].median())


def moved(before: Tensor, after: Tensor) -> Tensor:
    """Return (V,) which rows of a table (V, D) changed by more than weight decay and rounding: what training saw.

    Where any row kept its values there was neither. Else a quarter of the rows at least is not reached: these show what
    decay and rounding do.
    """
    if _untouched(before, after):
        return (before != after).any(1)
    largest = before.abs().amax(1).clamp_min(torch.finfo(before.dtype).tiny)
    rest = undecayed(before, after).abs().amax(1) / largest
    return rest > _ROUNDINGS * rest.quantile(STILL)


def undecayed(before: Tensor, after: Tensor) -> Tensor:
    """Return the change (V, D) of a table without what weight decay did."""
    return after - before if _untouched(before, after) else after - shrinkage(before, after) * before


def _untouched(before: Tensor, after: Tensor) -> bool:
    """Return whether a row kept its values, which weight decay leaves to rows of zeros alone."""
    return bool(((before == after).all(1) & (before != 0).any(1)).any())
