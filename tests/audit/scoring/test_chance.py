import numpy as np
import pytest
from scipy import stats

from memaudit.audit.scoring import chance as calibrate


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_up_to_the_highest_comparison_the_p_value_is_its_rank() -> None:
    null = np.array([0.1, 0.2, 0.2, 0.4])
    found = calibrate.p_values(np.array([0.05, 0.1, 0.2, 0.3, 0.4]), null)
    np.testing.assert_allclose(found, [1, 1, 4 / 5, 2 / 5, 2 / 5])


def test_beyond_all_comparisons_it_goes_on_falling_and_never_rises() -> None:
    null = rng().normal(0.2, 0.05, 50).clip(0, 1)
    values = np.linspace(0, 1, 400)
    found = calibrate.p_values(values, null)
    assert (np.diff(found) <= 1e-15).all()
    assert found[0] == 1
    assert found[-1] < 1e-6
    assert found[values > null.max()].max() <= 1 / 51


def test_without_comparisons_nothing_is_significant() -> None:
    assert calibrate.p_values(np.array([1.0, 0.5]), np.empty(0)).tolist() == [1, 1]
    assert calibrate.p_values(np.array([1.0]), np.array([0.1])).tolist() == [0.5]
    assert calibrate.detectable(np.empty(0), 4) == 1
    assert calibrate.detectable(np.array([0.1]), 4) == 1


@pytest.mark.parametrize("count", [2, 5, 19, 20, 39, 100, 1000])
def test_p_values_of_chance_are_never_too_small(count: int) -> None:
    """Over many null sets and new values: exact ranks, and a tail that errs towards no alarm."""
    draws = rng(count)
    p = np.concatenate(
        [
            calibrate.p_values(draws.gumbel(0.15, 0.03, 200).clip(-1, 1), draws.gumbel(0.15, 0.03, count).clip(-1, 1))
            for _ in range(400)
        ]
    )
    for level in (0.5, 0.1, 0.01, 0.001):
        assert (p <= level).mean() <= level * 1.1 + 3e-4


def test_p_values_of_chance_are_uniform() -> None:
    draws = rng()
    p = [float(calibrate.p_values(draws.normal(size=1) / 9, draws.normal(size=499) / 9)[0]) for _ in range(600)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.parametrize(("size", "tail"), [(0, 0), (1, 0), (2, 1), (8, 4), (20, 10), (40, 10), (41, 11), (400, 100)])
def test_the_tail_is_a_quarter_or_ten_but_at_most_half(size: int, tail: int) -> None:
    assert calibrate._count(size) == tail


@pytest.mark.parametrize("count", [10, 60, 5000])
@pytest.mark.parametrize("images", [1, 20])
def test_what_is_detectable_is_exactly_what_is_significant(count: int, images: int) -> None:
    null = rng().normal(0.2, 0.05, count).clip(-1, 1)
    least = calibrate.detectable(null, images)
    assert 0 < least < 1
    p = calibrate.p_values(np.array([np.nextafter(least, 0), np.nextafter(least, 1) + 1e-9]), null)
    assert p[1] <= calibrate.LEVEL / images + 1e-12
    assert p[0] >= calibrate.LEVEL / images - 1e-9 or least == null.max()


def test_comparisons_that_are_all_alike_leave_a_scale() -> None:
    p = calibrate.p_values(np.array([0.2, 0.21, 0.9]), np.full(30, 0.2))
    assert p[0] == 1
    assert 0.01 < p[1] < 1
    assert p[2] < 1e-6


def test_q_values_are_benjamini_and_hochbergs() -> None:
    p = np.array([0.01, 0.02, 0.03, 0.5])
    np.testing.assert_allclose(calibrate.q_values(p), [0.04, 0.04, 0.04, 0.5])
    assert calibrate.q_values(np.empty(0)).shape == (0,)


def test_the_false_discovery_rate_holds() -> None:
    draws, rates = rng(), []
    for _ in range(400):
        null, mixed = draws.normal(0.2, 0.04, 300), draws.normal(0.2, 0.04, 20)
        mixed[:5] += 0.3
        found = calibrate.q_values(calibrate.p_values(mixed.clip(-1, 1), null.clip(-1, 1))) <= 0.1
        rates.append(found[5:].sum() / max(found.sum(), 1))
    assert np.mean(rates) <= 0.1


def test_a_whole_set_is_compared_by_ranks() -> None:
    low, high = np.arange(10.0), np.arange(10.0) + 5
    assert calibrate.shifted(high, low) == pytest.approx(stats.mannwhitneyu(high, low, alternative="greater").pvalue)
    assert calibrate.shifted(high, np.empty(0)) is None


def test_tpr_needs_a_hundred_comparisons() -> None:
    null = np.arange(100) / 100
    assert calibrate.tpr_at_1_fpr(np.array([0.985, 0.995, 1.0, 0.0]), null) == 0.5
    assert calibrate.tpr_at_1_fpr(np.array([1.0]), null[:99]) is None


@pytest.mark.parametrize(
    ("found", "count", "ends"), [(0, 10, (0, 0.3085)), (3, 10, (0.0667, 0.6525)), (10, 10, (0.6915, 1))]
)
def test_clopper_and_pearson(found: int, count: int, ends: tuple[float, float]) -> None:
    assert calibrate.interval(found, count) == pytest.approx(ends, abs=1e-4)


def test_marked_images_among_the_nearest_are_hypergeometric() -> None:
    assert calibrate.pointed(2, 2, 3, 10) == pytest.approx(3 / 10 * 2 / 9)
    assert calibrate.pointed(0, 5, 3, 10) == 1


def test_long_distributions_are_kept_as_quantiles() -> None:
    values = rng().random(5000)
    found = calibrate.kept(values)
    assert len(found) == calibrate.KEPT
    assert found == sorted(found)
    assert (found[0], found[-1]) == (round(values.min(), 4), round(values.max(), 4))
    assert calibrate.kept([0.3, 0.1]) == [0.1, 0.3]
