import pytest
import torch

from memaudit.attacks.priors import total_variation


def test_mean_of_absolute_differences_in_both_directions():
    x = torch.tensor([[0.0, 1.0], [3.0, 1.0]]).view(1, 1, 2, 2)
    assert float(total_variation(x)) == pytest.approx((1 + 2) / 2 + (3 + 0) / 2)


def test_does_not_depend_on_the_number_of_images():
    x = torch.rand(2, 3, 5, 4)
    assert float(total_variation(x.repeat(4, 1, 1, 1))) == pytest.approx(float(total_variation(x)))


@pytest.mark.parametrize("shape", [(2, 1, 1, 10), (2, 1, 10, 1), (2, 1, 1, 1)])
def test_a_direction_of_one_pixel_adds_nothing(shape):
    assert torch.isfinite(total_variation(torch.rand(shape)))
