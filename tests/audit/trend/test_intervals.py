"""Intervals of differences, by published values, exact enumeration and simulation."""

import numpy as np
import pytest
from scipy.stats import multinomial, ttest_1samp

from memaudit.audit.exposure import statistics
from memaudit.audit.trend.intervals import areas, paired_mean, paired_shares, shares


def tables_of(count: int) -> list[tuple[int, int, int, int]]:
    """Return every way to count so many records twice."""
    return [
        (both, earlier, later, count - both - earlier - later)
        for both in range(count + 1)
        for earlier in range(count + 1 - both)
        for later in range(count + 1 - both - earlier)
    ]


def test_two_shares_are_those_that_newcombe_published():
    """56 of 70 and 48 of 80: Newcombe 1998, Stat. Med. 17:873, table II, method 10."""
    found = shares(48, 80, 56, 70)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert shares(56, 70, 48, 80).value == pytest.approx(-0.2)
    none = shares(0, 20, 0, 10)
    assert (none.low, none.high) == pytest.approx((-0.1611, 0.2775), abs=5e-5)


def test_paired_shares_are_those_of_a_published_table():
    """Airway reactivity before and after a transplantation (Bentur et al. 2009), as Fagerland et al. 2014 give it."""
    found = paired_shares(both=1, earlier=7, later=1, neither=12)
    assert (found.value, found.low, found.high) == pytest.approx((-0.2857, -0.5069, -0.0256), abs=5e-5)
    assert not found.tested, "McNemar's exact p is 0.0703"
    turned = paired_shares(both=1, earlier=1, later=7, neither=12)
    assert (turned.low, turned.high) == pytest.approx((0.0256, 0.5069), abs=5e-5)
    assert (found.sign, turned.sign) == (0, 1)


@pytest.mark.parametrize("cells", [(5, 0, 0, 5), (0, 0, 0, 3), (4, 0, 0, 0), (0, 3, 3, 0)])
def test_no_difference_is_none(cells):
    found = paired_shares(*cells)
    assert found.value == 0
    assert found.low <= 0 <= found.high
    assert found.sign == 0


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 10, 20])
def test_by_chance_a_fall_is_clear_in_five_of_a_hundred_at_most(count):
    """Exact: every table of so many records, where each is as likely to be lost as to be found anew."""
    tables = tables_of(count)
    clear = np.array([paired_shares(*table).sign < 0 for table in tables])
    for moved in (0.05, 0.1, 0.2, 0.3, 0.5):
        for both in (0.0, 0.5, 1.0):
            rest = 1 - 2 * moved
            law = multinomial(count, [both * rest, moved, moved, (1 - both) * rest])
            assert law.pmf(tables)[clear].sum() <= 0.05


def test_paired_shares_cover_the_true_difference():
    count, law = 30, [0.2, 0.3, 0.1, 0.4]
    tables = tables_of(count)
    weights = multinomial(count, law).pmf(tables)
    likely = [(table, weight) for table, weight in zip(tables, weights, strict=True) if weight > 1e-5]
    found = [(paired_shares(*table), weight) for table, weight in likely]
    assert sum(weight for one, weight in found if one.low <= -0.2 <= one.high) > 0.94


def test_a_paired_mean_is_students():
    values = np.random.default_rng(0).normal(0.1, 0.2, 12)
    found, known = paired_mean(values.tolist()), ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), known.low, known.high))
    assert paired_mean([0.3]) is None
    assert paired_mean([0.0, 0.0]).sign == 0


def test_the_difference_of_two_areas_covers_the_truth():
    draw, hits = np.random.default_rng(0), 0
    for _ in range(300):
        one, two = (statistics.auc(draw.normal(1, 1, 80), draw.normal(0, 1, 80)) for _ in range(2))
        found = areas(one[0], one[1], two[0], two[1])
        hits += found.low <= 0 <= found.high
    assert hits >= 0.92 * 300


def test_an_interval_that_is_cut_at_one_is_as_wide_as_its_other_side():
    assert areas(0.98, (0.9, 1.0), 0.98, (0.98, 0.98)).low == pytest.approx(-0.08)
