import pytest
import torch

from memaudit.attacks.images.colours import to_opponent
from memaudit.attacks.images.priors import total_variation, unblurred


def test_mean_of_absolute_differences_in_both_directions():
    x = torch.tensor([[0.0, 1.0], [3.0, 1.0]]).view(1, 1, 2, 2)
    assert float(total_variation(x)) == pytest.approx((1 + 2) / 2 + (3 + 0) / 2)


def test_does_not_depend_on_the_number_of_images():
    x = torch.rand(2, 3, 5, 4)
    assert float(total_variation(x.repeat(4, 1, 1, 1))) == pytest.approx(float(total_variation(x)))


@pytest.mark.parametrize("shape", [(2, 1, 1, 10), (2, 1, 10, 1), (2, 1, 1, 1)])
def test_a_direction_of_one_pixel_adds_nothing(shape):
    assert torch.isfinite(total_variation(torch.rand(shape)))


def test_the_difference_from_a_blur():
    assert float(unblurred(torch.full((2, 3, 5, 5), 0.7))) == pytest.approx(0, abs=1e-12)
    dot = torch.zeros(1, 1, 3, 3)
    dot[0, 0, 1, 1] = 1
    # 1 - 1/4 in the middle, 1/8 at the sides, 1/16 at the corners.
    assert float(unblurred(dot)) == pytest.approx((9 / 16 + 4 / 64 + 4 / 256) / 9)


def test_colours_count_more_and_grey_does_not():
    grey = torch.rand(2, 1, 4, 4).expand(2, 3, 4, 4)
    shade = float(total_variation(grey, chroma=5.0))
    assert shade == pytest.approx(
        float(total_variation(grey)) / 3**0.5, rel=1e-5
    )  # one axis of three, longer by sqrt 3
    tint = torch.zeros(1, 3, 1, 2)
    tint[0, :, 0, 1] = torch.tensor([1.0, 0.0, -1.0])  # red against blue: of length sqrt 2
    assert float(total_variation(tint, chroma=4.0)) == pytest.approx(4 * 2**0.5 / 3)
    assert float(total_variation(torch.rand(2, 1, 4, 4), chroma=9.0)) < 1  # other than three channels: as they are


def test_opponent_colours_keep_lengths():
    x = torch.rand(2, 3, 4, 4)
    assert torch.allclose(to_opponent(x).square().sum(), x.square().sum())
