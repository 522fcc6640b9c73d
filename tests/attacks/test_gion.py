import pytest
import torch

from memaudit.attacks.contract.params import cosine_distance
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain import inversion
from memaudit.attacks.gion import GION

from ..conftest import trained
from .test_dlg import smooth


def smooth_images(n, size=16):
    """Images in which neighbours are alike, in [0, 1]."""
    coarse = torch.rand(n, 3, 4, 4, dtype=torch.float64)
    return torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)


def run(attack, victim, recipe, seed=0):
    state = attack.init(victim, recipe, seed)
    while not state.done:
        state = attack.step(victim, recipe, state)
    return state


def rms(a, b):
    return float((a - b).square().mean().sqrt())


def test_an_image_follows_from_one_step():
    recipe, x = Recipe(1, 1.0, 1, 1), smooth_images(1, 8)
    victim = trained(smooth(), x, torch.tensor([2]), recipe, torch.zeros(1, 1, dtype=torch.long))
    attack = GION(iterations=300)
    state = run(attack, victim, recipe)
    found = attack.finish(victim, recipe, state)
    assert found.labels.tolist() == [2]
    assert rms(found.records, x) < 0.1
    change, _ = inversion.predict(victim, recipe, found.inputs, found.labels)
    assert found.loss == pytest.approx(float(cosine_distance(change, victim.delta)), abs=1e-12)


def test_inputs_stay_as_they_were_drawn():
    recipe, x = Recipe(2, 1.0, 2, 1), smooth_images(2, 8)
    victim = trained(smooth(), x, torch.tensor([0, 2]), recipe, torch.arange(2)[None])
    attack = GION(iterations=3)
    before, after = attack.init(victim, recipe, 0).variables, run(attack, victim, recipe).variables
    assert torch.equal(before["generator.z"], after["generator.z"])
    assert float((before["generator.first"] - after["generator.first"]).abs().max()) == pytest.approx(0.3, rel=0.01)


def test_a_constant_total_variation_smooths():
    recipe, x = Recipe(1, 1.0, 1, 1), torch.rand(1, 3, 8, 8, dtype=torch.float64)
    victim = trained(smooth(), x, torch.tensor([2]), recipe, torch.zeros(1, 1, dtype=torch.long))
    states = [run(GION(iterations=40, alpha=alpha), victim, recipe) for alpha in (0.0, 0.1)]
    assert states[1].terms["roughness"] < 0.8 * states[0].terms["roughness"]


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"step_size": 0.0}, {"alpha": -1.0}, {"tolerance": -1.0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GION(**wrong)
