"""Exact p-values, areas and bounds, held against brute force and simulation."""

import itertools

import numpy as np
import pytest
from scipy.stats import kstest

from memaudit.audit.exposure import statistics


def test_a_p_value_is_the_rank_among_held_out_ones():
    found = statistics.conformal(np.array([0.5, 2.0, 9.0]), np.array([3.0, 1.0, 2.0]))
    np.testing.assert_allclose(found, [1.0, 3 / 4, 1 / 4])


def test_p_values_of_records_that_were_not_trained_on_are_uniform():
    rng = np.random.default_rng(0)
    found = [statistics.conformal(draw[:1], draw[1:])[0] for draw in rng.normal(size=(2000, 100))]
    assert kstest(np.array(found) - rng.uniform(0, 0.01, 2000), "uniform").pvalue > 0.01


def test_the_area_is_the_share_of_pairs_in_order_and_ties_count_half():
    rng = np.random.default_rng(1)
    own, others = rng.integers(0, 6, 40).astype(float), rng.integers(0, 5, 30).astype(float)
    pairs = (own[:, None] > others).mean() + 0.5 * (own[:, None] == others).mean()
    area, (low, high) = statistics.auc(own, others)
    assert area == pytest.approx(pairs)
    assert low < area < high


def test_the_interval_of_the_area_holds_the_truth_as_often_as_it_says():
    rng, held = np.random.default_rng(2), 0
    for _ in range(400):
        low, high = statistics.auc(rng.normal(1.0, 1, 60), rng.normal(0, 1, 60))[1]
        held += low <= 0.7602 <= high  # Phi(1 / sqrt 2)
    assert 0.91 <= held / 400 <= 0.99


def test_a_share_at_a_false_positive_rate_needs_as_many_held_out_records():
    own, others = np.arange(200.0), np.arange(100.0)
    assert statistics.tpr(own, others, 0.01) == pytest.approx(101 / 200), "above all but one of a hundred"
    assert statistics.tpr(own, others, 0.001) is None
    assert statistics.tpr(own[:0], others, 0.01) is None


def test_the_curve_begins_at_none_and_ends_at_all():
    rng = np.random.default_rng(3)
    found = statistics.curve(rng.normal(1, 1, 300), rng.normal(0, 1, 500))
    assert found[0][0] == 0
    assert found[-1] == (1.0, 1.0)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("trained", [0, 20, 80])
def test_no_more_records_are_claimed_than_were_trained_on(trained):
    rng, wrong, found = np.random.default_rng(trained), 0, []
    for _ in range(200):
        scores = np.r_[rng.normal(3.0, 1, trained), rng.normal(0, 1, 100 - trained)]
        found.append(statistics.at_least(scores, rng.normal(0, 1, 300)))
        wrong += found[-1] > trained
    assert wrong / 200 <= 0.05
    assert np.mean(found) >= 0.6 * trained, "the bound is of use"


def test_without_records_or_held_out_ones_nothing_is_claimed():
    assert statistics.at_least(np.zeros(0), np.ones(5)) == 0
    assert statistics.at_least(np.ones(5), np.zeros(0)) == 0


def test_epsilon_is_a_lower_bound_where_a_coin_decided():
    rng = np.random.default_rng(4)
    found = [statistics.epsilon(rng.normal(size=500), rng.normal(size=500))[0] for _ in range(200)]
    assert np.mean(np.array(found) > 0) <= 0.08, "no privacy loss is claimed where there is none, but for 5 %"
    value, guesses, right = statistics.epsilon(rng.normal(4, 1, 500), rng.normal(0, 1, 500))
    assert (guesses, right) == (100, 100)
    assert 1 / (1 + np.exp(-value)) == pytest.approx(0.05 ** (1 / 100), rel=1e-6)


def test_randomised_response_is_not_said_to_be_less_private_than_it_is():
    rng, above, true = np.random.default_rng(5), 0, 1.0
    for _ in range(300):
        coin = rng.random(1000) < 0.5
        kept = rng.random(1000) < np.exp(true) / (1 + np.exp(true))
        said = np.where(kept, coin, ~coin) + rng.uniform(0, 0.5, 1000)
        above += statistics.epsilon(said[coin], said[~coin])[0] > true
    assert above / 300 <= 0.08


def test_quantiles_stand_for_many_values():
    assert statistics.quantiles([3, 1, 2]) == [1.0, 2.0, 3.0]
    found = statistics.quantiles(np.arange(10_000.0))
    assert len(found) == 512
    assert found[0] == 0
    assert found[-1] == 9999
