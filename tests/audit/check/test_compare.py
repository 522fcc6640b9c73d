import math

import pytest
import torch

from memaudit.audit.check import compare
from memaudit.audit.check.compare import Shares, chance, disjoint, drawn, size_of


@pytest.mark.parametrize(
    ("data", "held_out", "expected"), [(10, 50, 10), (100, 400, 20), (10, 20, 5), (1, 4, 1), (5, 2, 1), (30, None, 20)]
)
def test_sets_are_as_large_as_four_of_held_out_records_allow(data, held_out, expected):
    assert size_of(data, held_out) == expected


def test_sets_are_disjoint_where_there_are_enough():
    found = disjoint(torch.arange(30)[:, None], 7, 9)
    assert [len(part) for part in found] == [7] * 4
    assert len({int(value) for part in found for value in part.flatten()}) == 28
    many, overlap = drawn(torch.arange(900)[:, None], 2)
    assert (len(many), overlap, len({int(value) for part in many for value in part.flatten()})) == (12, 0.0, 24)
    few, overlap = drawn(torch.arange(50)[:, None], 10)
    assert (len(few), overlap) == (compare.SETS, 0.2)
    assert len(drawn(torch.arange(8)[:, None], 2)[0]) == 4


@pytest.mark.parametrize(("count", "size"), [(200, 8), (50, 10), (20, 5), (8, 2)])
def test_records_of_the_same_source_are_rarely_called_right(count, size):
    gen = torch.Generator().manual_seed(0)
    found = []
    for _ in range(1500):
        pool, own = torch.randn(count, generator=gen), torch.randn(size, generator=gen)
        sets, overlap = drawn(pool[torch.randperm(count, generator=gen)], size)
        found.append(chance([float(own.mean())], [float(part.mean()) for part in sets], overlap))
    for level in (0.1, 0.01):
        assert sum(p <= level for p in found) <= 1.5 * level * len(found)
    assert sum(p <= 0.1 for p in found) >= 0.06 * len(found)


def test_one_other_set_shows_nothing():
    assert chance([-9.0], [0.0]) == 1.0


def shares(own, held_out, altered):
    return Shares([math.log(v) for v in own], [math.log(v) for v in held_out], [math.log(v) for v in altered])


@pytest.mark.parametrize(
    ("own", "held_out", "altered", "expected"),
    [
        ([0.01], [0.7, 0.72, 0.69, 0.71], [0.6, 0.61, 0.62], True),
        ([0.01], [0.7, 0.72, 0.69, 0.71], [], True),  # a kind without altered copies
        ([0.70], [0.7, 0.72, 0.69, 0.71], [0.6, 0.61, 0.62], False),
        ([0.97], [0.99, 0.991, 0.989, 0.99], [0.981, 0.982, 0.983], True),  # nearly all is noise: of the rest the most
        ([0.97], [0.99, 0.991, 0.989, 0.99], [0.972, 0.982, 0.983], False),
        ([0.99999], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0], False),  # too little to mean anything
        ([0.68], [0.7, 0.72, 0.69, 0.71], [0.9, 0.91, 0.92], False),  # lower, but not by enough
        ([0.01], [0.7, 0.72, 0.69, 0.71], [0.005, 0.6, 0.61], False),  # an altered copy explains more
        ([0.10], [0.9, 0.91, 0.92, 0.9], [0.11, 0.2, 0.4], False),  # altered copies vary as much
        ([0.10], [0.9, 0.05, 0.4, 0.2], [0.6, 0.61, 0.62], False),  # others vary as much
        ([0.10], [], [0.5, 0.6], True),
        ([0.40], [], [0.5, 0.6], False),
    ],
)
def test_the_data_must_leave_clearly_less_than_all_others(own, held_out, altered, expected):
    assert shares(own, held_out, altered).explain is expected
