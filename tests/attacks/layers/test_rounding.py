"""The rounding of stored types, as an error of entries and as an edge among singular values."""

import pytest
import torch

from memaudit.attacks.layers.rounding import Floor, noise, rounding, stored


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rounding_is_that_of_the_format(dtype):
    values = torch.randn(20000, dtype=torch.float64)
    error = (values.to(dtype).double() - values).square().mean().sqrt()
    assert float(rounding(values, dtype).square().mean().sqrt()) == pytest.approx(float(error), rel=0.05)
    assert (rounding(torch.zeros(3), dtype) > 0).all()


def test_noise_is_that_of_the_difference():
    before, after = torch.randn(2, 20000, dtype=torch.float64)
    error = (after.to(torch.bfloat16).double() - before.to(torch.float16).double()) - (after - before)
    found = noise((before, after), (torch.float16, torch.bfloat16))
    assert found == pytest.approx(float(error.square().mean().sqrt()), rel=0.05)
    assert noise((torch.zeros(0, 3), torch.zeros(0, 3)), (torch.float32, torch.float32)) == 0


def test_the_type_of_the_file_shows_in_the_values():
    values = torch.randn(100, dtype=torch.float64)
    for kind in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        assert stored(values.to(kind).double()) == kind
    assert stored(values.float()) == torch.float32
    assert stored(torch.full((3,), 1e6)) == torch.float32  # too large for float16


@pytest.mark.parametrize("shape", [(300, 300), (200, 900), (900, 200)])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32])
def test_rounding_alone_has_no_edge(shape, kind):
    before = torch.randn(shape, dtype=torch.float64)
    values = torch.linalg.svdvals(before.to(kind).double() - before)
    found = Floor(shape, noise((before, before), (torch.float64, kind)), 1.0).edge(values, shape)
    assert found.kind == "none"
    assert found.gap < 7
