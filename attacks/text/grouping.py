"""Which tokens stood in one sentence: what a token gives others to see comes back from the places that looked at it.

The change of the first block's value projection is a sum over tokens of a signal times what the layer sees of the
token: nearly a part of the token's plus one of the place's, so that least squares give a signal for each token and for
each place. That of a token is, in every head of the attention, a mixture of what comes back from all places of its
sentences, and of no others. Signals of one sentence are alike, those of others are not; and a token or a place of
several sentences has a share of each.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..contract.params import Params
from ..contract.victim import Victim

APART, SIGNED = 0.45, 0.3
"""Mean cosine, over heads, under which groups are not joined, and the same under Adam.

Of two tokens of one sentence it is 0.65 on average, under Adam 0.45, of two others 0 (MiniLM).
"""

ALONE = 2 / 3
"""Share of that from which a token that is left alone still joins the group that it is most like."""

MIXED = 1 / 3
"""A group whose tokens stand anywhere is a mixture of others if these leave less of it than this share of what they
would leave of one that has nothing to do with them."""

PART = 0.15
"""Of a sentence are tokens of which its share is more than this part of the largest share of any."""

Group = tuple[int, ...]
"""Numbers of tokens, each in the list of those that are grouped."""


@dataclass(frozen=True)
class Together:
    """Which tokens stood together.

    Attributes:
        groups: Tokens that stood in one sentence, by their rows; of each group no two at one place.
        members: (n, t) which tokens stood in the sentence of each group, those of several sentences too.
        lengths: (n,) places of each sentence, about.
    """

    groups: list[Group]
    members: Tensor
    lengths: Tensor


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


def seen_of(victim: Victim, params: Params, path: str, tokens: Tensor, length: int) -> Tensor:
    """Return (t, L', d) float64 what a first layer sees of tokens at each of the first places."""
    return entering(victim, params, path, tokens[:, None].expand(-1, length)).double().cpu()


def additive(change: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signals of tokens (t, F) and of places (L', F) in a change (F, d), of what is seen (t, L', d).

    What is seen is a mean, a part of the token and a part of the place. Parts sum to zero, so that least squares leave
    what all tokens have in common open; but all signals of tokens together are those of all places, and of the mean.
    """
    mean = seen.mean((0, 1))
    words, places = seen.mean(1) - mean, seen.mean(0) - mean
    rows = torch.cat([words, places, mean[None]])
    found = torch.linalg.lstsq(rows.T, change.T, driver="gelsd").solution
    total = found[-1]
    parts = found[: len(words)], found[len(words) : -1]
    signals, at = (part + (total - part.sum(0)) / len(part) for part in parts)
    return signals, at


def heads(victim: Victim) -> int:
    """Return how many heads the attention has; 1 where no configuration in the network says."""
    configs = (getattr(module, "config", None) for module in victim.module.modules())
    return next((int(found) for config in configs if (found := getattr(config, "num_attention_heads", 0))), 1)


def together(words: Tensor, places: Tensor, stands: Sequence[int], inner: Tensor, apart: float = APART) -> Together:
    """Return which tokens stood together.

    Args:
        words: (t, H, F) signals of tokens, in each head.
        places: (L', H, F) signals of places.
        stands: Where each token stands, -1 for anywhere.
        inner: (t,) which tokens do not begin or end sentences.
        apart: Mean cosine, over heads, under which groups are not joined.
    """
    ways = normalize(words, dim=2)
    alike = torch.einsum("ahf,bhf->ab", ways, ways) / words.shape[1]
    groups: list[Group] = [(row,) for row in inner.nonzero().flatten().tolist()]
    groups = _unmixed(ways, grouped(alike, stands, groups, apart), stands)
    groups = sorted(grouped(alike, stands, groups, ALONE * apart, True), key=len, reverse=True)
    if not groups:
        return Together([], words.new_zeros(0, len(words)).bool(), torch.zeros(0, dtype=torch.long))
    own = _ways(ways, groups)
    share = _shares(words, own)
    members = (share > PART * share.amax(1, keepdim=True)).T | ~inner
    for row, group in enumerate(groups):
        members[row, list(group)] = True
    return Together(groups, members, _lengths(_shares(places, own)))


def _ways(ways: Tensor, groups: Sequence[Group]) -> Tensor:
    """Return (n, H, F) the mean of each group's unit signals (t, H, F)."""
    return torch.stack([ways[list(group)].mean(0) for group in groups])


def _shares(signals: Tensor, own: Tensor) -> Tensor:
    """Return (k, n) how much of each group (n, H, F) is in signals (k, H, F): least squares, the median over heads."""
    solved = torch.linalg.lstsq(own.permute(1, 2, 0), signals.permute(1, 2, 0), driver="gelsd").solution
    shares: Tensor = solved.median(0).values.T
    return shares


def _unmixed(ways: Tensor, groups: list[Group], stands: Sequence[int]) -> list[Group]:
    """Return groups without those of tokens that stand anywhere and are a mixture of the other groups."""
    for group in sorted(groups, key=len):
        others = [other for other in groups if other is not group]
        if not others or any(stands[row] >= 0 for row in group):
            continue
        basis, wanted = _ways(ways, others).permute(1, 2, 0), _ways(ways, [group]).permute(1, 2, 0)
        rest = wanted - basis @ torch.linalg.lstsq(basis, wanted, driver="gelsd").solution
        left = float((rest.square().sum((1, 2)) / wanted.square().sum((1, 2)).clamp_min(1e-30)).median())
        if left < MIXED * max(1 - len(others) / basis.shape[1], 0.0):
            groups = others
    return groups


def _lengths(shares: Tensor) -> Tensor:
    """Return (n,) how many places each sentence has, by its shares (L', n) of places: where these end."""
    level = shares[1:4].mean(0)
    lengths: Tensor = (shares[1:] - PART * level).cumsum(0).argmax(0) + 2
    return lengths


def grouped(
    alike: Tensor, places: Sequence[int], groups: list[Group], apart: float, alone: bool = False
) -> list[Group]:
    """Return groups joined, the likeliest pair first, as long as two are alike.

    Args:
        alike: (t, t) cosines of tokens.
        places: Where they stand, -1 for anywhere: no two of a group at one place.
        groups: Where to begin.
        apart: Mean cosine under which two are not joined.
        alone: Only a token that is alone joins another group.
    """
    while pair := _nearest(groups, alike, places, apart, alone):
        groups = [group for group in groups if group not in pair] + [tuple(sorted(pair[0] + pair[1]))]
    return groups


def _nearest(
    groups: list[Group], alike: Tensor, places: Sequence[int], apart: float, alone: bool
) -> tuple[Group, Group] | None:
    """Return the two most alike groups that may be one; ``None`` where none are alike."""
    member = alike.new_zeros(len(groups), len(places))
    stands = alike.new_zeros(len(groups), max(places, default=0) + 1)
    for row, group in enumerate(groups):
        member[row, list(group)] = 1 / len(group)
        stands[row, [places[k] for k in group if places[k] >= 0]] = 1
    links = member @ alike @ member.T
    links[stands @ stands.T > 0] = -1
    single = torch.tensor([len(group) == 1 for group in groups])
    if alone:
        links[single[:, None] == single] = -1
    links = links.triu(1) - torch.ones_like(links).tril()
    if not links.numel() or float(links.max()) < apart:
        return None
    row, column = divmod(int(links.argmax()), len(groups))
    return groups[row], groups[column]
