import torch
from torch.nn.functional import pad

from memaudit.attacks.contract.attack import generator
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.attacks.images.views import versions

NONE = torch.zeros(1)


def windows(image, reach):
    """All that a version of an image (c, h, w) may be: each window of it on a black ground, mirrored or not."""
    _, height, width = image.shape
    wide, span = pad(image, (reach,) * 4), range(2 * reach + 1)
    found = [wide[:, top : top + height, left : left + width] for top in span for left in span]
    return [*found, *(window.flip(2) for window in found)]


def test_each_version_is_the_image_mirrored_or_shifted_and_the_first_is_itself():
    image = torch.arange(1, 65).float().view(1, 1, 8, 8)
    seen = versions(image, 40, NONE, generator(1))
    assert seen.shape == (40, 1, 8, 8)
    assert torch.equal(seen[:1], image)
    choices = windows(image[0], 1)
    places = [next(i for i, window in enumerate(choices) if torch.equal(view, window)) for view in seen[1:]]
    assert len(set(places)) > 9, "many different ones"
    assert sum(place >= 9 for place in places) in (19, 20), "every second of the others is mirrored"


def test_all_images_have_the_same_versions():
    images = torch.rand(3, 3, 16, 8)
    together = versions(images, 5, NONE, generator(2)).unflatten(0, (3, 5))
    for image, seen in zip(images, together, strict=True):
        assert torch.equal(versions(image[None], 5, NONE, generator(2)), seen)


def test_a_single_version_is_the_images_themselves_and_draws_nothing():
    images, gen = torch.rand(2, 3, 8, 8), generator(0)
    assert versions(images, 1, NONE, gen) is images
    assert torch.equal(torch.rand(1, generator=gen), torch.rand(1, generator=generator(0)))


def test_black_enters_in_the_unit_of_the_network():
    medium = Images(Normalisation((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))
    pixels = torch.rand(2, 3, 8, 8)
    plain = versions(pixels, 6, NONE, generator(3))
    torch.testing.assert_close(medium.versions(medium.encode(pixels), 6, generator(3)), medium.encode(plain))
    assert (plain == 0).any()
