import math

import pytest
import torch

from memaudit.audit.scoring.idle import APART, GAP, insignificant


def flags(*values, twins=None):
    return insignificant(torch.tensor(values), None if twins is None else torch.tensor(twins)).tolist()


def test_the_papers_two_groups_are_told_apart():
    """SimuDy, section 4.5: matched dummies have influences of 1.12 to 1.95, unmatched ones of 0.22 to 0.84."""
    matched, unmatched = torch.linspace(1.12, 1.95, 50), torch.linspace(0.22, 0.84, 25)
    order = torch.randperm(75)
    found = insignificant(torch.cat([matched, unmatched])[order])
    assert torch.equal(found, (torch.arange(75) >= 50)[order])


def test_equal_influences_are_all_significant():
    assert not any(flags(*[1.0] * 8))
    assert not any(flags(1.0, 1.1, 1.2, 1.3, 1.45, 1.6))


def test_an_even_spread_has_no_gap_though_its_ends_lie_far_apart():
    assert not bool(insignificant(torch.logspace(-1, 1, 30)).any())


def test_a_gap_between_groups_that_are_near_each_other_does_not_count():
    near, far = (GAP + APART) / 2, 1.01 * APART
    assert not any(flags(1.0, 1.0, near, near, near))
    assert flags(1.0, 1.0, far, far, far) == [True, True, False, False, False]


def test_twins_are_set_apart_and_have_no_part_in_the_gap():
    assert flags(1.0, 1.0, 1.1, 1.2, twins=[False, True, False, False]) == [False, True, False, False]
    assert flags(1.0, 0.1, 1.1, 1.2, twins=[False, True, False, False]) == [False, True, False, False]
    assert flags(0.1, 1.0, 1.1, 1.2, twins=[False, True, False, False]) == [True, True, False, False]


def test_at_most_half_are_set_apart():
    assert not any(flags(0.1, 0.1, 0.1, 0.1, 2.0))
    assert flags(2.0, 0.1, 2.0, 0.1) == [False, True, False, True]


def test_one_dummy_or_none_is_never_set_apart():
    assert flags(0.0) == [False]
    assert flags(3.0) == [False]
    assert flags() == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_influences_that_are_no_numbers_set_nothing_apart(value):
    assert not any(flags(0.01, value, 1.0, 1.0))


def test_zero_influences():
    assert flags(0.0, 1.0, 1.0) == [True, False, False]
    assert flags(0.0, 0.0, 1.0, 1.1) == [True, True, False, False]
    assert not any(flags(0.0, 0.0, 0.0))
