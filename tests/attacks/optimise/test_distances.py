import math

import pytest
import torch

from memaudit.attacks.optimise.distances import DISTANCES, running_error


def changes(*values: float) -> dict[str, torch.Tensor]:
    return {"a": torch.tensor(values[:1], dtype=torch.float64), "b": torch.tensor(values[1:], dtype=torch.float64)}


@pytest.mark.parametrize("name", DISTANCES)
def test_least_at_the_real_change(name):
    real = changes(1.0, -2.0, 0.5)
    least = DISTANCES[name](real, real)
    for other in (changes(1.0, -2.0, 0.6), changes(-1.0, 2.0, -0.5), changes(3.0, -2.0, 0.5)):
        assert float(DISTANCES[name](other, real)) > float(least)
    assert float(least) == pytest.approx(0.1 * math.log(1e-6) if name == "log_cosine" else 0.0, abs=1e-9)


def test_values():
    real, other = changes(3.0, 4.0), changes(4.0, 3.0)
    assert float(DISTANCES["cosine"](other, real)) == pytest.approx(1 / 25)
    assert float(DISTANCES["log_cosine"](other, real)) == pytest.approx(0.1 * math.log(1 / 25 + 1e-6))
    assert float(DISTANCES["euclidean"](other, real)) == pytest.approx(2 / 25)


@pytest.mark.parametrize("name", ["cosine", "log_cosine"])
def test_angles_do_not_see_the_length(name):
    real = changes(3.0, 4.0)
    assert torch.isclose(DISTANCES[name](changes(8.0, 6.0), real), DISTANCES[name](changes(4.0, 3.0), real))


def test_running_error_is_relative_to_how_far_each_statistic_moved():
    before = {"mean": torch.tensor([0.0, 0.0]), "var": torch.tensor([1.0, 1.0]), "theta": torch.zeros(1)}
    real = {"mean": torch.tensor([3.0, 4.0]), "var": torch.tensor([1.0, 3.0])}
    assert float(running_error({**real, "theta": torch.ones(1)}, real, before)) == 0
    assert float(running_error(before, real, before)) == pytest.approx(1.0)
    half = {"mean": torch.tensor([1.5, 2.0]), "var": torch.tensor([1.0, 3.0])}
    assert float(running_error(half, real, before)) == pytest.approx((0.25 + 0) / 2)


def test_running_error_is_finite_where_a_statistic_stayed():
    before = {"mean": torch.ones(2)}
    assert float(running_error(before, before, before)) == 0
    assert math.isfinite(float(running_error({"mean": torch.full((2,), 1.001)}, before, before)))
