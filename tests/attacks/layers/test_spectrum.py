"""The spectrum of one layer's change: rank, weight decay, room and bias, on changes whose truth is known."""

import math

import pytest
import torch
from torch import Tensor

from memaudit.attacks.layers.rounding import noise
from memaudit.attacks.layers.spectrum import spectrum

KINDS = (torch.float32, torch.float32)


def trained(
    count: int, factor: float = 1.0, width: int = 256, d: int = 300, strength: float = 1.0, dtype=torch.float32
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor, Tensor]:
    """Return weight and bias before and after, the inputs (count, d) and the signals (width, count)."""
    start, bias = (torch.randn(shape, dtype=torch.float64).to(dtype) / d**0.5 for shape in ((width, d), (width,)))
    signals = strength * torch.randn(width, count, dtype=torch.float64) / width
    signals = signals * (torch.rand(width, count) < 0.5)
    x = torch.randn(count, d, dtype=torch.float64)
    end = (factor * start.double() + signals @ x).to(dtype)
    return (start, end), (bias, (factor * bias.double() + signals.sum(1)).to(dtype)), x, signals


def outside(x: Tensor, rows: Tensor) -> float:
    """Return the share of the inputs outside the span of the rows."""
    return float((x - x @ rows.T @ rows).norm() / x.norm())


@pytest.mark.parametrize("factor", [1.0, 0.9999, 0.98, 0.7, 0.1, 1e-4, -0.05])
@pytest.mark.parametrize("count", [1, 12, 150, 220, 250])
def test_rank_factor_and_span_for_any_decay_and_number(count, factor):
    weight, bias, x, signals = trained(count, factor)
    found = spectrum(weight, noise(weight, KINDS), bias)
    assert (found.edge.rank, found.edge.kind) == (count, "sharp")
    assert found.factor == pytest.approx(factor, abs=1e-7)
    assert abs(found.factor - factor) <= found.spread
    assert outside(x, found.rows(count)) < 1e-4
    assert found.closed
    assert found.room == found.live == int((signals != 0).any(1).sum())
    assert found.change.dtype == torch.float64


@pytest.mark.parametrize("factor", [1.0, 0.95])
def test_more_inputs_than_a_sketch_holds(factor):
    weight, _, x, _ = trained(400, factor, width=700, d=800)
    found = spectrum(weight, noise(weight, KINDS))
    assert (found.edge.rank, found.edge.kind) == (400, "sharp")
    assert found.factor == pytest.approx(factor, abs=1e-7)
    assert outside(x, found.rows(400)) < 1e-4


def test_a_large_layer_goes_through_a_sketch():
    width, d, n = 1100, 1300, 40
    start, bias = torch.randn(width, d) / 30, torch.randn(width) / 30
    share, x = torch.randn(width, n) / 50, torch.randn(n, d) / 50
    end = (0.999 * start.double() + share.double() @ x.double()).float()
    found = spectrum((start, end), 1e-9, (bias, bias + share.sum(1)), sketch=True)
    assert (found.edge.rank, found.edge.kind) == (n, "sharp")
    assert found.read is None
    assert found.closed
    assert found.factor == pytest.approx(0.999, abs=1e-7)
    disturbed = (start, end + torch.randn(width, d) / 1000)
    assert spectrum(disturbed, 1e-9, sketch=True).edge.kind == "none"


def test_a_known_factor_is_a_start_and_not_believed():
    weight, _, _, _ = trained(20, 0.9)
    for known in (0.9, 0.5, 1.0):
        found = spectrum(weight, noise(weight, KINDS), known=known)
        assert found.edge.rank == 20
        assert found.factor == pytest.approx(0.9, abs=1e-7)


def test_a_change_of_full_rank_has_no_edge():
    for count, kind in ((600, torch.float32), (600, torch.float64)):
        weight, bias, _, _ = trained(count, 0.99, dtype=kind)
        found = spectrum(weight, noise(weight, (kind, kind)), bias, known=0.97)
        assert (found.edge.kind, found.factor, found.spread) == ("none", 0.97, math.inf)
        assert torch.allclose(found.values, torch.linalg.svdvals(found.change))
        assert found.rows(50).shape == (50, 300)


def test_units_that_are_exactly_dead_do_not_hide_the_rank():
    """The step from rounding to exact zeros is wider than the one from data to rounding."""
    weight, _, _, _ = trained(20, strength=1e-4)
    weight[1][200:] = weight[0][200:]
    found = spectrum(weight, noise(weight, KINDS))
    assert (found.edge.rank, found.edge.kind, found.live) == (20, "sharp", 200)


@pytest.mark.parametrize("factor", [1.0, 0.9])
def test_room_is_that_of_units_and_inputs_that_took_part(factor):
    def room(units: int, inputs: int, balanced: bool = False) -> tuple[int, int]:
        weight, _, _, _ = trained(20, factor)
        still = (factor * weight[0].double()).float()
        weight[1][units:], weight[1][:, inputs:] = still[units:], still[:, inputs:]
        found = spectrum(weight, noise(weight, KINDS), balanced=balanced)
        return found.room, found.live

    assert room(256, 300) == (256, 256)
    assert room(30, 300) == (30, 30)
    assert room(30, 300, balanced=True) == (29, 30)
    assert room(256, 40) == (40, 40)
    assert room(256, 40, balanced=True) == (40, 40)


def test_the_bias_decayed_or_did_not_or_saw_something_else():
    weight, (first, last), _, signals = trained(20, 0.9)
    level = noise(weight, KINDS)
    found = spectrum(weight, level, (first, last))
    assert found.bias_factor == found.factor
    assert torch.allclose(found.bias_change, signals.sum(1), atol=1e-7)
    found = spectrum(weight, level, (first, (first.double() + signals.sum(1)).float()))
    assert found.bias_factor == 1.0
    assert torch.allclose(found.bias_change, signals.sum(1), atol=1e-7)
    found = spectrum(weight, level, (first, torch.randn(256)))
    assert not found.closed
    assert found.outside > 0.5


@pytest.mark.parametrize(("strength", "edge"), [(1.0, "sharp"), (0.1, "edge")])
def test_a_coarse_type_shows_what_stands_out_of_its_rounding(strength, edge):
    weight, _, x, _ = trained(20, strength=strength)
    rounded = tuple(side.to(torch.bfloat16).float() for side in weight)
    found = spectrum(rounded, noise(rounded, (torch.bfloat16, torch.bfloat16)))
    assert (found.edge.rank, found.edge.kind) == (20, edge)
    assert outside(x, found.rows(20)) < 0.05
    fine = spectrum(rounded, noise(rounded, KINDS)).edge
    assert fine.kind == ("gap" if edge == "sharp" else "none")  # float32 would not round so


def test_noise_as_strong_as_the_change_hides_the_rank():
    weight, _, _, _ = trained(20)
    strong = (weight[0], weight[1] + 0.05 * torch.randn_like(weight[1]))
    assert spectrum(strong, noise(strong, KINDS)).edge.kind == "none"
    weak = (weight[0], weight[1] + 1e-5 * torch.randn_like(weight[1]))
    assert spectrum(weak, noise(weak, KINDS)).edge.kind == "gap"  # a rank, but not one that ends at rounding


@pytest.mark.parametrize("shape", [(8, 12), (12, 8), (2, 5), (400, 3)])
def test_no_values_break_it(shape):
    """A pencil of a singular matrix has values that end the process in LAPACK."""
    made = {
        "zeros": torch.zeros(shape), "ones": torch.ones(shape), "equal rows": torch.randn(shape[1]).expand(shape),
        "tiny": torch.randn(shape, dtype=torch.float64) * 1e-300, "large": torch.randn(shape).double() * 1e100,
        "noise": torch.randn(shape),
    }  # fmt: skip
    for first in made.values():
        for last in made.values():
            found = spectrum((first, last), noise((first, last), (torch.float64, torch.float64)))
            assert -1 <= found.factor <= 1
            assert 0 <= found.edge.rank <= min(shape)
            assert found.edge.kind == "none" or found.edge.rank < min(shape)
