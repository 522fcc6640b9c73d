"""Covers after an exchange are those that are computed anew."""

import pytest
import torch

from memaudit.attacks.layers import coverage
from memaudit.attacks.layers.inputs import Geometry
from memaudit.attacks.layers.seen import Patches, Rows, Seen
from memaudit.attacks.layers.swaps import swapped


def rows(count: int, positions: int, width: int, seed: int) -> Rows:
    """Rows whose squares are 1 on average for every input, so that an exchange does not change their scale."""
    drawn = torch.randn(count, positions, width, generator=torch.Generator().manual_seed(seed))
    return Rows(drawn / drawn.square().sum(2, keepdim=True).mean(1, keepdim=True).sqrt())


def patches(count: int, seed: int) -> Patches:
    module = torch.nn.Conv2d(2, 4, 3)  # without padding and with one pixel a side more: all lengths can be made alike
    drawn = torch.randn(count, 2, 5, 5, generator=torch.Generator().manual_seed(seed))
    seen = Patches(drawn, Geometry.of(module))
    return Patches(drawn * (seen.positions / seen.lengths()).sqrt().view(-1, 1, 1, 1), seen.geometry)


def exchanged(own: Seen, other: Seen, i: int) -> Seen:
    mask = (torch.arange(len(own.source)) == i).view(-1, *(1,) * (own.source.ndim - 1))
    return type(own)(torch.where(mask, other.source, own.source), *([own.geometry] if isinstance(own, Patches) else []))


@pytest.mark.parametrize(
    ("own", "other", "k"),
    [
        (rows(5, 4, 64, 0), rows(5, 4, 64, 1), 10),  # room for all rows
        (rows(5, 4, 12, 0), rows(5, 4, 12, 1), 6),  # more rows than directions: the ridge alone leaves anything
        (rows(1, 6, 30, 0), rows(1, 6, 30, 1), 8),  # one input, of which nothing else is left
        (patches(3, 0), patches(3, 1), 7),
    ],
)
def test_covers_after_an_exchange_are_those_computed_anew(own, other, k):
    width = own.written().shape[2]
    weighted = torch.randn(k, width, generator=torch.Generator().manual_seed(2))
    weighted = weighted / weighted.norm()
    whole, found = swapped(own, other, weighted)
    assert float(whole) == pytest.approx(float(coverage.cover(own, weighted)), rel=1e-4)
    assert found.shape == (len(own.source),)
    for i, value in enumerate(found.tolist()):
        assert value == pytest.approx(float(coverage.cover(exchanged(own, other, i), weighted)), rel=1e-4)


def test_an_exchange_for_the_same_rows_changes_nothing_and_for_the_right_ones_helps():
    own, right = rows(4, 3, 40, 0), rows(4, 3, 40, 1)
    truth = torch.cat([own.source[:2], right.source[2:3], own.source[3:]])
    weighted = torch.linalg.svd(truth.flatten(0, 1), full_matrices=False).Vh / 12**0.5
    whole, same = swapped(own, own, weighted)
    assert torch.allclose(same, whole.expand(4), atol=1e-9)
    whole, found = swapped(own, right, weighted)
    assert (found < whole).tolist() == [False, False, True, False]
    assert float(found[2]) < 0.01 < float(whole)
