"""The image kind: what it says of itself, and what only images have."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import Tensor

from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.audit.report.exhibit import Picture
from memaudit.audit.scoring.image import Image
from memaudit.audit.scoring.similarity import ssim_matrix, ssim_pairs

from .test_match import noise, photographs

KIND = Image(Images(Normalisation((0.5,), (0.2,))))


def test_similarity_is_ssim_as_a_matrix_and_pair_by_pair() -> None:
    one, two = noise(3, 0), noise(3, 1)
    assert torch.equal(KIND.matrix(one, two), ssim_matrix(one, two, "audit"))
    assert torch.equal(KIND.pairs(one, two), ssim_pairs(one, two))


@pytest.mark.parametrize(("side", "ways"), [((8, 8), 7), ((8, 12), 3)])
def test_turned_and_mirrored_in_every_way_that_keeps_the_shape(side: tuple[int, int], ways: int) -> None:
    images = torch.rand(4, 3, *side, generator=torch.Generator().manual_seed(0))
    turned = KIND.mismatches(images)
    assert len(turned) == len(KIND.mismatches(images[:0])) == ways
    assert all(found.shape == images.shape for found in turned)
    whole = [images, *turned]
    assert not any(torch.equal(a, b) for place, a in enumerate(whole) for b in whole[:place])
    assert any(torch.equal(found, images.flip(-1)) for found in turned)


def test_decoys_are_the_mean_image_and_noise_as_bright_and_as_varied() -> None:
    truth = photographs(6, 0)
    found = KIND.decoys(truth, 5, torch.Generator().manual_seed(0))
    assert torch.equal(found["mean of the training images"], truth.mean(0, keepdim=True))
    blotches = found["smoothed noise"]
    assert blotches.shape == (5, *truth.shape[1:])
    assert float(blotches.mean()) == pytest.approx(float(truth.mean()), abs=0.05)
    assert blotches.diff(dim=-1).abs().mean() < noise(5, 0).diff(dim=-1).abs().mean() / 4
    again = KIND.decoys(truth, 5, torch.Generator().manual_seed(0))
    assert torch.equal(again["smoothed noise"], blotches)


def test_scaled_and_compressed_copies_of_training_images_are_noticed() -> None:
    truth = photographs(4, 0, side=32)
    again = torch.nn.functional.interpolate(
        torch.nn.functional.interpolate(truth[:2], 24, mode="area"), 32, mode="bilinear"
    )
    assert KIND.near_copies(torch.cat([again, photographs(20, 3, side=32)]), truth) == 2
    assert KIND.near_copies(torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 8, 8)) == 0


@pytest.mark.parametrize("keep", [True, False])
def test_an_image_is_shown_as_a_picture_that_is_kept_or_only_named(tmp_path, keep: bool) -> None:
    image: Tensor = noise(1, 0)[0]
    shown = KIND.show(image, tmp_path, "simudy/dummy-0000", keep)
    assert isinstance(shown, Picture)
    levels = (image * 255).round().byte()
    assert shown.path.endswith(f"dummy-0000-{hashlib.sha256(levels.numpy().tobytes()).hexdigest()[:8]}.png")
    assert (tmp_path / shown.path).is_file() is keep
    if keep:
        with Pillow.open(tmp_path / shown.path) as picture:
            np.testing.assert_array_equal(np.asarray(picture), levels.permute(1, 2, 0).numpy())
