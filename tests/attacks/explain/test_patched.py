"""What explains a vision transformer's change, at the true images and at others."""

import pytest
import torch

from memaudit.attacks.contract.params import cosine_distance
from memaudit.attacks.explain import patched
from memaudit.attacks.layers.patching import patching
from memaudit.attacks.layers.several import space

from ...vits import SHAPE, Vit, pictures, subject


@pytest.fixture(scope="module")
def known():
    torch.manual_seed(0)
    victim, recipe, x = subject(2, 1, network=Vit(64))
    place = patching(victim)
    sides = [(read(victim.theta0), read(victim.thetaf)) for read in (place.matrix, place.rows)]
    memory = patched.remembered(victim, 2, space(*sides, 1e-16, 2)[1])
    return patched.point(victim, recipe), place, memory, x


def test_one_step_is_explained_by_its_images_alone(known):
    at, place, memory, x = known
    other = patched.placed(place, memory, pictures(2, seed=9))
    labels = torch.arange(2)
    assert float(cosine_distance(patched.change(at, x, labels), at.delta)) < 1e-8
    assert float(cosine_distance(patched.change(at, other, labels), at.delta)) > 1e-4
    assert float(patched.covers(at, memory, x)) < float(patched.covers(at, memory, other)) - 1
    assert float(patched.outside(at, memory, x).max()) < 1e-6 < 1e-4 < float(patched.outside(at, memory, other).min())


def test_layers_behind_a_single_token_are_left_out(known):
    paths = {name.removesuffix(".kept") for name in known[2] if name.endswith(".kept")}
    assert "blocks.0.down" in paths
    assert not paths & {"blocks.1.down", "blocks.1.up", "head"}  # only the class token's signal comes back there


def test_images_are_moved_to_where_their_patches_lie(known):
    _, place, memory, x = known
    assert torch.allclose(patched.placed(place, memory, x), x, atol=1e-3)
    other = pictures(2, seed=9)
    assert not torch.allclose(patched.placed(place, memory, other), other, atol=0.05)
    assert torch.equal(patched.placed(place, {}, other), other)
    wide = torch.cat([other, other[..., :1]], -1)  # a column that no patch reaches
    assert torch.equal(patched.placed(place, memory, wide)[..., 12:], wide[..., 12:])
    assert x.shape[1:] == SHAPE


def test_what_no_layer_shows_weighs_nothing(known):
    at, _, _, x = known
    assert not patched.covers(at, {}, x)
    assert not patched.outside(at, {}, x).any()


def test_several_steps_are_looked_at_from_the_middle():
    victim, recipe, _ = subject(2, 3)
    at = patched.point(victim, recipe)
    half = torch.lerp(victim.theta0["head.weight"], victim.thetaf["head.weight"], 0.5)
    assert torch.equal(at.theta0["head.weight"], half)
