import pytest
import torch

from memaudit.attacks.contract.victim import Normalisation
from memaudit.attacks.images.priors import box, total_variation


def test_mean_of_absolute_differences_in_both_directions():
    x = torch.tensor([[0.0, 1.0], [3.0, 1.0]]).view(1, 1, 2, 2)
    assert float(total_variation(x)) == pytest.approx((1 + 2) / 2 + (3 + 0) / 2)


def test_does_not_depend_on_the_number_of_images():
    x = torch.rand(2, 3, 5, 4)
    assert float(total_variation(x.repeat(4, 1, 1, 1))) == pytest.approx(float(total_variation(x)))


@pytest.mark.parametrize("shape", [(2, 1, 1, 10), (2, 1, 10, 1), (2, 1, 1, 1)])
def test_a_direction_of_one_pixel_adds_nothing(shape):
    assert torch.isfinite(total_variation(torch.rand(shape)))


SCALE = Normalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))


def test_box_is_zero_inside_the_range_of_pixels():
    x = SCALE.from_pixels(torch.rand(2, 3, 4, 4, dtype=torch.float64)).requires_grad_()
    value = box(x, SCALE)
    assert float(value.detach()) == pytest.approx(0, abs=1e-24)
    assert float(torch.autograd.grad(value, x)[0].abs().max()) == pytest.approx(0, abs=1e-12)
    edges = SCALE.from_pixels(torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1).repeat(1, 3, 4, 4))
    assert float(box(edges, SCALE)) == pytest.approx(0, abs=1e-24)


def test_box_is_the_mean_squared_excess_in_the_units_of_the_network():
    pixels = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
    pixels[0, 0, 0, 0], pixels[0, 1, 1, 1] = 1.1, -0.5  # beyond by 0.5 and by 2 standard deviations
    x = SCALE.from_pixels(pixels).requires_grad_()
    value = box(x, SCALE)
    assert float(value.detach()) == pytest.approx((0.5**2 + 2**2) / 12)
    (grad,) = torch.autograd.grad(value, x)
    assert float(grad[0, 0, 0, 0]) == pytest.approx(2 * 0.5 / 12)
    assert float(grad[0, 1, 1, 1]) == pytest.approx(2 * -2 / 12)
    assert int((grad.abs() > 1e-12).sum()) == 2
    assert torch.allclose(box(x.repeat(3, 1, 1, 1), SCALE), value)
