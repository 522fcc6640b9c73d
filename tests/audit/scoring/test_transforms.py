import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from memaudit.audit.scoring import transforms
from memaudit.audit.scoring.shifts import moved
from memaudit.audit.scoring.similarity import ssim_pairs
from memaudit.audit.scoring.transforms import transformed

from .test_match import noise, photographs


def smooth(count: int, seed: int, side: int = 32) -> Tensor:
    """Random images with the spectrum of photographs, from 0 to 1."""
    rng = torch.Generator().manual_seed(seed)
    layers = [torch.randn(count, 3, cells, cells, generator=rng) * cells**-0.7 for cells in (2, 4, 8, 16, 32)]
    whole = sum(interpolate(layer, side, mode="bilinear", align_corners=False) for layer in layers)
    low, high = whole.amin((1, 2, 3), keepdim=True), whole.amax((1, 2, 3), keepdim=True)
    return (whole - low) / (high - low)


def move(images: Tensor, down: int, right: int) -> Tensor:
    return moved(images, torch.tensor([[down, right]]).expand(len(images), 2), edge=False)


@pytest.mark.parametrize("side", [32, 96])
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("", lambda x: x),
        ("mirrored", lambda x: x.flip(-1)),
        ("turned right", lambda x: x.rot90(-1, (2, 3))),
        ("red and blue exchanged", lambda x: x.flip(1)),
        ("channels last read as channels first", lambda x: x.permute(0, 2, 3, 1).reshape(x.shape)),
        ("moved by 2 to the left and 3 down (pixels)", lambda x: move(x, 3, -2)),
        ("mirrored, moved by 4 to the right (pixels)", lambda x: move(x.flip(-1), 0, 4)),
    ],
)
def test_the_way_in_which_training_saw_an_image_is_found(name: str, made, side: int) -> None:
    images = smooth(5, 0, side)
    seen = (made(images)[torch.tensor([3, 1, 4, 0, 2])] + 0.05 * torch.randn(5, 3, side, side)).clamp(0, 1)
    found = transformed(images, {}, seen, True, 0, None)
    assert found.names == (name,) * 5
    torch.testing.assert_close(found.records, made(images))


def test_another_reading_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, "_CHUNK", 2 * 3 * 32 * 32)  # slices of two images
    images, crop = smooth(5, 0), smooth(5, 1)
    found = transformed(images, {"centre crop": crop}, crop.flip(0), True, 0, None)
    assert found.names == ("centre crop",) * 5
    assert torch.equal(found.records, crop)


def test_a_reconstruction_that_does_not_count_is_not_looked_at() -> None:
    images = smooth(4, 0)
    own = torch.tensor([0, 1, -1, 3])
    found = transformed(images, {}, images.flip(-1), True, 0, own)
    assert found.names[2] == "mirrored"
    assert all(ssim_pairs(found.records[row : row + 1], images[row : row + 1].flip(-1)) < 0.9 for row in (0, 1, 3))


@pytest.mark.parametrize("guesses", [torch.full((2, 3, 12, 12), torch.nan), torch.zeros(1, 3, 12, 12)])
def test_blank_and_broken_reconstructions_do_no_harm(guesses: Tensor) -> None:
    found = transformed(noise(3, 0), {}, guesses, True, 0, None)
    assert found.records.isfinite().all()
    assert len(found.names) == 3


def test_small_images_are_looked_at_as_they_are() -> None:
    images = photographs(3, 0, side=4)
    assert transformed(images, {}, images.flip(-1), True, 0, None).names == ("mirrored",) * 3
    assert transformed(images[:0], {}, images, True, 0, None).names == ()
