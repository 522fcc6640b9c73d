"""The share of a change that inputs leave: against least squares, and its gradient against finite differences."""

import pytest
import torch

from memaudit.attacks.layers.coverage import RIDGE, cover, directions, outside, scale_of, shares, signals_of
from memaudit.attacks.layers.seen import Rows


def change_of(rows: torch.Tensor, units: int) -> torch.Tensor:
    return torch.randn(units, len(rows), dtype=rows.dtype) @ rows


def seen(rows: torch.Tensor) -> Rows:
    return Rows(rows[:, None])


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(6, 20, dtype=torch.float64)


def test_the_right_inputs_leave_what_the_ridge_does_and_others_much(rows):
    span = directions(change_of(rows, 10), 0.0, 1.0, 6)
    assert float(cover(seen(rows), span.weighted)) < 10 * RIDGE
    assert float(cover(seen(torch.randn(6, 20, dtype=torch.float64)), span.weighted)) > 0.5


@pytest.mark.parametrize("count", [6, 50])
def test_cover_is_the_minimum_of_ridge_regression(count):
    rows, weighted = torch.randn(count, 20, dtype=torch.float64), torch.randn(4, 20, dtype=torch.float64)
    unit = rows / scale_of(seen(rows))
    assert float(unit.square().sum(1).mean()) == pytest.approx(1)
    tall = torch.cat([unit.T, RIDGE**0.5 * torch.eye(count, dtype=torch.float64)])
    right = torch.cat([weighted.T, torch.zeros(count, 4, dtype=torch.float64)])
    best = torch.linalg.lstsq(tall, right).solution
    assert torch.allclose(signals_of(seen(rows), weighted), best)
    assert float(cover(seen(rows), weighted)) == pytest.approx(float((tall @ best - right).square().sum()))


def test_its_gradient_is_that_of_the_minimum(rows):
    weighted = directions(change_of(torch.randn(6, 20, dtype=torch.float64), 8), 0.0, 1.0, 6).weighted
    moving = rows.clone().requires_grad_()
    (slope,) = torch.autograd.grad(cover(seen(moving), weighted), [moving])
    way = torch.randn_like(rows)
    factor = float(1 / scale_of(seen(rows)))  # counts as constant

    def solved(moved: torch.Tensor, weighted: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve(moved @ moved.T + RIDGE * torch.eye(6, dtype=torch.float64), moved @ weighted.T)

    def at(step: float) -> float:
        moved = (rows + step * way) * factor
        signals = solved(moved, weighted)
        return float((weighted - signals.T @ moved).square().sum() + RIDGE * signals.square().sum())

    assert float((slope * way).sum()) == pytest.approx((at(1e-5) - at(-1e-5)) / 2e-5, rel=1e-5)


def test_many_alike_rows_in_float32_are_solved_too():
    rows = torch.ones(400, 30) + 1e-6 * torch.randn(400, 30)
    found = cover(seen(rows), directions(torch.randn(5, 30), 0.0, 1.0, 5).weighted)
    assert 0 < float(found) <= 1.001


@pytest.mark.parametrize("shape", [(10, 20), (20, 10)])
def test_directions_are_those_of_the_singular_value_decomposition(shape):
    change = torch.randn(shape, dtype=torch.float64)
    span = directions(change, 0.0, 2.0, 3)
    _, s, v = torch.linalg.svd(change, full_matrices=False)
    assert torch.allclose(span.weighted.square().sum(1), s**2 / (s**2).sum())
    assert torch.allclose((span.kept @ v[:3].T).abs(), torch.eye(3, dtype=torch.float64), atol=1e-8)


def test_directions_that_rounding_could_make_are_left_out(rows):
    noise = 1e-4
    change = change_of(rows, 10) + noise * torch.randn(10, 20, dtype=torch.float64)
    assert len(directions(change, 0.0, 1.0, 99).weighted) == 10
    assert len(directions(change, noise, 1.0, 99).weighted) == 6
    with pytest.raises(ValueError, match="rounding"):
        directions(noise * torch.randn(10, 20), noise, 1.0, 99)


def test_a_single_input_lies_inside_or_outside():
    basis = torch.linalg.qr(torch.randn(20, 6, dtype=torch.float64)).Q.T
    own = torch.randn(2, 3, 6, dtype=torch.float64) @ basis
    half = torch.cat([own[:1], torch.randn(1, 3, 20, dtype=torch.float64)])
    assert outside(Rows(own), basis).max() < 1e-9
    found = outside(Rows(half), basis)
    assert found[0] < 1e-9
    assert found[1] > 0.3


def test_who_explains_more_has_the_larger_share(rows):
    records = rows.view(3, 2, 20)
    signals = torch.randn(10, 6, dtype=torch.float64)
    signals[:, :2] = 0  # the first record took no part
    signals[:, 4:] *= 10
    weighted = directions(signals @ rows, 0.0, 1.0, 6).weighted
    found = shares(Rows(records), weighted)
    assert found[0] < 0.05 * found[1] < 0.05 * found[2]
    unit = rows / scale_of(Rows(records))
    parts = signals_of(Rows(records), weighted)
    direct = [float((parts[2 * i : 2 * i + 2].T @ unit[2 * i : 2 * i + 2]).norm()) for i in range(3)]
    assert found.tolist() == pytest.approx(direct)
