import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision import transforms

from memaudit.audit.data.preparation import Preparation, oriented, planes, turned_size


@pytest.fixture
def photo() -> np.ndarray:
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[:96, 176:320])


@pytest.mark.parametrize("orientation", range(10))
def test_an_orientation_does_what_pillow_does(photo: np.ndarray, orientation: int) -> None:
    picture = Image.fromarray(photo)
    picture.getexif()[0x0112] = orientation
    wanted = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(oriented(photo, orientation), wanted)
    assert turned_size(photo.shape[:2], orientation) == wanted.shape[:2]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("fit", "resize"), [("center-crop", 32), ("resize-crop", 37)])
def test_crops_are_torchvisions_to_the_bit(photo: np.ndarray, fit: str, resize: int, turned: bool) -> None:
    photo = photo.swapaxes(0, 1) if turned else photo
    steps = transforms.Compose([transforms.Resize(resize), transforms.CenterCrop(32)])
    wanted = np.asarray(steps(Image.fromarray(photo)))
    made = Preparation("ignore", fit).prepare(photo, 1, (32, 32))
    np.testing.assert_array_equal((made * 255).round().astype(np.uint8), wanted.transpose(2, 0, 1))


def test_the_larger_picture_of_imagenet_is_256_for_224() -> None:
    made = Preparation("ignore", "resize-crop").prepare(np.zeros((512, 512, 3), np.uint8), 1, (224, 224))
    assert made.shape == (3, 224, 224)


def test_padding_keeps_the_aspect_in_the_middle_of_black() -> None:
    made = Preparation("ignore", "pad").prepare(np.full((20, 40), 255, np.uint8), 1, (16, 16))
    assert made.shape == (1, 16, 16)
    assert (made[0, 4:12] == 1).all()
    assert made.sum() == 8 * 16


def test_sixteen_bits_and_alien_channels_are_cropped_too() -> None:
    assert Preparation("ignore", "center-crop").prepare(np.ones((8, 12, 4), np.float32), 1, (4, 4)).shape == (4, 4, 4)


def test_other_ways_differ_in_one_respect_first_and_are_all_named() -> None:
    base = Preparation()
    names = [other.beside(base) for other in base.others()]
    assert names[:3] == ["orientation tag applied", "centre crop", "resized by 256/224, then centre crop"]
    assert names[4] == "orientation tag applied, centre crop"
    assert len(set(names)) == len(names) == 7
    assert [other.beside(Preparation("apply", "none")) for other in Preparation("apply", "none").others()] == [
        "orientation tag ignored"
    ]


@pytest.mark.parametrize("other", Preparation().others())
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("size", [(16, 16), (32, 32), (24, 16)])
def test_what_is_said_to_differ_does(other: Preparation, orientation: int, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    base, wanted = Preparation(), (16, 16)
    apart = np.abs(other.prepare(image, orientation, wanted) - base.prepare(image, orientation, wanted)).max()
    if other.differs(base, size, orientation, wanted):
        assert apart > 0.1
    elif size == wanted:
        assert apart == 0


def test_a_square_picture_is_only_scaled_by_a_crop() -> None:
    crop, base = Preparation("ignore", "center-crop"), Preparation()
    assert not crop.differs(base, (640, 641), 1, (32, 32))
    assert crop.differs(base, (640, 480), 1, (32, 32))


def test_planes_are_channels_first_and_from_0_to_1() -> None:
    assert planes(np.full((2, 3), 255, np.uint8)).tolist() == [[[1.0] * 3] * 2]
    assert planes(np.zeros((2, 3, 4), np.float32)).shape == (4, 2, 3)
