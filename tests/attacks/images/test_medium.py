import pytest
import torch

from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation

SCALE = Normalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
IMAGES = Images(SCALE)


def test_excess_is_zero_inside_the_range_of_pixels():
    x = SCALE.from_pixels(torch.rand(2, 3, 4, 4, dtype=torch.float64)).requires_grad_()
    value = IMAGES.excess(x)
    assert float(value.detach()) == pytest.approx(0, abs=1e-24)
    assert float(torch.autograd.grad(value, x)[0].abs().max()) == pytest.approx(0, abs=1e-12)
    edges = SCALE.from_pixels(torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1).repeat(1, 3, 4, 4))
    assert float(IMAGES.excess(edges)) == pytest.approx(0, abs=1e-24)


def test_excess_is_the_mean_squared_excess_in_the_units_of_the_network():
    pixels = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
    pixels[0, 0, 0, 0], pixels[0, 1, 1, 1] = 1.1, -0.5  # beyond by 0.5 and by 2 standard deviations
    x = SCALE.from_pixels(pixels).requires_grad_()
    value = IMAGES.excess(x)
    assert float(value.detach()) == pytest.approx((0.5**2 + 2**2) / 12)
    (grad,) = torch.autograd.grad(value, x)
    assert float(grad[0, 0, 0, 0]) == pytest.approx(2 * 0.5 / 12)
    assert float(grad[0, 1, 1, 1]) == pytest.approx(2 * -2 / 12)
    assert int((grad.abs() > 1e-12).sum()) == 2
    assert torch.allclose(IMAGES.excess(x.repeat(3, 1, 1, 1)), value)


def test_images_are_moved_into_the_range_of_pixels():
    x = 5 * torch.randn(2, 3, 4, 4)
    pixels = SCALE.to_pixels(IMAGES.within(x))
    assert -1e-6 < float(pixels.min()) < float(pixels.max()) < 1 + 1e-6
    inside = SCALE.from_pixels(torch.rand(2, 3, 4, 4))
    assert torch.allclose(IMAGES.within(inside), inside, atol=1e-6)


def test_records_are_pixels_and_encode_brings_them_back():
    pixels = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    assert torch.allclose(IMAGES.records(IMAGES.encode(pixels)), pixels, atol=1e-12)
    assert float(IMAGES.records(torch.full((1, 3, 2, 2), 1e3)).max()) == 1
    assert float(IMAGES.records(torch.full((1, 3, 2, 2), -1e3)).min()) == 0


def test_auto_is_the_pyramid():
    noise = torch.randn(2, 3, 16, 16)
    assert IMAGES.variables(noise, "auto").keys() == IMAGES.variables(noise, "pyramid").keys() > {"scale1"}
    assert torch.equal(IMAGES.inputs(IMAGES.variables(noise, "pixels")), noise)
