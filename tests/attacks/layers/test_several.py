"""Affine spaces of patches: they hold all images of a real training, and are the smaller the fewer these are."""

import pytest
import torch

from memaudit.attacks.layers.patching import patching
from memaudit.attacks.layers.several import space

from ...vits import Vit, pictures, subject


def spaces(size, steps=3, guess=1, dim=64, **options):
    victim, _, x = subject(size, steps, network=Vit(dim), **options)
    place = patching(victim)
    sides = [(read(victim.theta0), read(victim.thetaf)) for read in (place.matrix, place.rows)]
    count, found = space(*sides, 1e-16, guess)
    return count, found, place, x


def apart(found, place, x):
    patches = place.cut(x)
    return float((found.nearest(patches) - patches).norm() / patches.norm())


@pytest.mark.parametrize("options", [{"steps": 1}, {"momentum": 0.9}, {"weight_decay": 1e-2, "momentum": 0.9}], ids=str)
def test_the_images_of_training_lie_in_them_whatever_the_training(options):
    count, found, place, x = spaces(3, **options)
    assert count == 3
    assert found.differences.shape == (18, 48)
    assert apart(found, place, x) < 1e-3 < 0.05 < apart(found, place, pictures(3, seed=9))


def test_one_image_leaves_points():
    count, found, place, x = spaces(1)
    assert count == 1
    assert not len(found.differences)
    assert torch.allclose(found.base, place.cut(x)[0], atol=1e-4)


def test_images_that_fill_what_the_layer_can_see_leave_everything():
    assert spaces(6, guess=6)[:2] == (6, None)
    assert spaces(4, guess=4, dim=32)[:2] == (4, None)


def test_nearest_is_a_projection():
    _, found, place, _ = spaces(2)
    once = found.nearest(place.cut(pictures(2, seed=9)))
    assert torch.allclose(found.nearest(once), once)
