"""Which tokens stood in one sentence: what a token gives others to see comes back from the places that looked at it.

The change of the first block's value projection is a sum over tokens of a signal times what the layer sees of the
token. What it sees depends on token and place alone, so that least squares give the signals of tokens that occur once.
Each is a mixture of what comes back from all places of its sentence, and of no other sentence: signals of one sentence
are alike, those of others are not.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..contract.params import Params
from ..contract.victim import Victim
from .medium import sentences_of

APART = 0.1
"""Mean cosine under which groups are not even tried together."""

RIDGE = 1e-3
"""Singular values below this share of the largest are left out: rows of repeated tokens hardly differ."""

Group = tuple[int, ...]
"""Numbers of tokens, each in the list of those that are grouped."""


def seen_by(victim: Victim, params: Params, path: str, tokens: Tensor, places: Tensor) -> Tensor:
    """Return (t, d) what a first layer sees of tokens (t,) at places (t,): neighbours play no part in it."""
    count = torch.bincount(places, minlength=victim.shape[0])
    ids = torch.full((int(count.max()), victim.shape[0]), sentences_of(victim).pad)
    rows = torch.zeros_like(places)
    taken = [0] * victim.shape[0]
    for k, place in enumerate(places.tolist()):
        rows[k] = taken[place]
        taken[place] += 1
    ids[rows, places] = tokens
    return entering(victim, params, path, ids)[rows, places]


class _Enough(Exception):
    """What was looked for is known: the rest of the network need not run."""


def entering(victim: Victim, params: Params, path: str, ids: Tensor) -> Tensor:
    """Return (b, L, d) what a first layer is fed for sentences (b, L)."""
    seen: list[Tensor] = []

    def note(module: object, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0])
        raise _Enough

    hook = victim.module.get_submodule(path).register_forward_pre_hook(note)
    try:
        with torch.no_grad(), suppress(_Enough):
            victim.logits(params, ids.to(victim.like))
    finally:
        hook.remove()
    return seen[0]


def back(change: Tensor, seen: Tensor, rest: Tensor) -> Tensor:
    """Return (t, m) the signals of tokens in the change of a layer, by least squares.

    Args:
        change: (m, d) of the layer's weight.
        seen: (t, d) what it sees of the tokens.
        rest: (r, d) what it sees of others.
    """
    rows = torch.cat([seen, rest]).double()
    solved: Tensor = torch.linalg.lstsq(rows.T.cpu(), change.double().T.cpu(), rcond=RIDGE, driver="gelsd").solution
    return solved[: len(seen)]


def grouped(signals: Tensor, places: Sequence[int], gains: Callable[[Group, Group], bool]) -> list[Group]:
    """Return tokens in groups, the likeliest pair of groups first, as long as joining them explains more.

    Args:
        signals: (t, m) of tokens.
        places: Where they stand: no two of a group at one place.
        gains: Whether two groups explain more together than each by itself.
    """
    alike = normalize(signals, dim=1) @ normalize(signals, dim=1).T
    groups: list[Group] = [(k,) for k in range(len(places))]
    apart: set[tuple[Group, Group]] = set()
    while pair := _nearest(groups, alike, places, apart):
        one, two = pair
        if gains(one, two):
            groups = [group for group in groups if group not in pair] + [tuple(sorted(one + two))]
        else:
            apart.add(pair)
    return sorted(groups, key=len, reverse=True)


def _nearest(
    groups: list[Group], alike: Tensor, places: Sequence[int], apart: set[tuple[Group, Group]]
) -> tuple[Group, Group] | None:
    """Return the two most alike groups that may be one; ``None`` where none are alike."""
    member = alike.new_zeros(len(groups), len(places))
    stands = alike.new_zeros(len(groups), max(places, default=0) + 1)
    for row, group in enumerate(groups):
        member[row, list(group)] = 1 / len(group)
        stands[row, [places[k] for k in group]] = 1
    links = member @ alike @ member.T
    links[stands @ stands.T > 0] = -1
    for row, one in enumerate(groups):
        for column in range(row + 1, len(groups)):
            if (one, groups[column]) in apart:
                links[row, column] = -1
    links = links.triu(1)
    if not links.numel() or float(links.max()) < APART:
        return None
    row, column = divmod(int(links.argmax()), len(groups))
    return groups[row], groups[column]
