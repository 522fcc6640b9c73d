import math

import pytest
import torch

from memaudit.audit.check import compare
from memaudit.audit.check.compare import Shares, chance, size_of, subsets


@pytest.mark.parametrize(
    ("data", "held_out", "expected"), [(10, 50, 10), (100, 400, 20), (10, 20, 5), (1, 4, 1), (5, 2, 1), (30, None, 20)]
)
def test_sets_are_as_large_as_four_of_held_out_records_allow(data, held_out, expected):
    assert size_of(data, held_out) == expected


def test_sets_are_disjoint_and_of_one_size():
    found = subsets(torch.arange(30)[:, None], 7)
    assert [len(part) for part in found] == [7] * 4
    assert len({int(value) for part in found for value in part.flatten()}) == 28
    assert len(subsets(torch.arange(900), 2)) == compare.SETS


def test_chance_is_the_t_test_and_uniform_without_a_difference():
    from scipy.stats import kstest, ttest_ind

    one, two = [0.1, 0.3], [0.2, 0.5, 0.4]
    assert chance(one, two) == pytest.approx(ttest_ind(one, two, alternative="less").pvalue)
    rng = torch.Generator().manual_seed(0)
    found = [chance([draw[0]], draw[1:]) for draw in torch.randn(2000, 7, generator=rng).tolist()]
    assert kstest(found, "uniform").pvalue > 0.01
    assert chance([-9.0], [0.0]) == 1.0


def shares(own, held_out, altered):
    return Shares([math.log(v) for v in own], [math.log(v) for v in held_out], [math.log(v) for v in altered])


@pytest.mark.parametrize(
    ("own", "held_out", "altered", "expected"),
    [
        ([0.01], [0.7, 0.72, 0.69, 0.71], [0.6], True),
        ([0.70], [0.7, 0.72, 0.69, 0.71], [0.6], False),
        ([0.68], [0.7, 0.72, 0.69, 0.71], [0.9], False),  # lower, but not by enough
        ([0.01], [0.7, 0.72, 0.69, 0.71], [0.005], False),  # an altered copy explains more
        ([0.10], [0.9, 0.05, 0.4, 0.2], [0.6], False),  # others vary as much
        ([0.10], [], [0.5, 0.6], True),
        ([0.40], [], [0.5, 0.6], False),
    ],
)
def test_the_data_must_leave_clearly_less_than_all_others(own, held_out, altered, expected):
    assert shares(own, held_out, altered).explain is expected
