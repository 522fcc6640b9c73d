import pytest
import torch

from memaudit.attacks.images.normalisation import Normalisation


def test_normalisation_goes_both_ways():
    scale, pixels = Normalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.5)), torch.rand(2, 3, 4, 5)
    assert torch.allclose(scale.to_pixels(scale.from_pixels(pixels)), pixels, atol=1e-6)
    assert float(scale.from_pixels(torch.ones(1, 3, 1, 1))[0, 1]) == pytest.approx(0.6 / 0.25)
    assert torch.equal(Normalisation().from_pixels(pixels), pixels)
