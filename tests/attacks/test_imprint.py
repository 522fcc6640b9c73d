import pytest
import torch

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.imprint import Imprint

from ..conftest import mlp, trained
from .firstlayer.test_stored import SIDE, planted


def attacked(victim, recipe):
    attack = Imprint()
    state = attack.step(victim, recipe, attack.init(victim, recipe, 0))
    assert state.done
    return attack.finish(victim, recipe, state)


def test_a_base_made_to_store_gives_its_records_and_labels():
    recipe, labels = Recipe(6, 0.01, 6, 1), torch.tensor([0, 1, 2, 0, 1, 2])
    x = torch.randn(6, 1, 1, SIDE, dtype=torch.float64)
    victim = trained(planted(512), x, labels, recipe, torch.arange(6)[None])
    found = attacked(victim, recipe)
    assert found.loss < Imprint().tolerance
    nearest = torch.cdist(x.flatten(1), found.inputs.flatten(1)).min(1)
    assert int((nearest.values < 1e-6).sum()) >= 5
    assert found.influence.diff().max() <= 0


def test_one_record_of_any_network_after_many_steps():
    recipe = Recipe(1, 0.05, 1, 30, momentum=0.9)
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64)
    victim = trained(mlp(), x, torch.tensor([1]), recipe, torch.zeros(30, 1, dtype=torch.long))
    found = attacked(victim, recipe)
    assert torch.allclose(found.inputs, x, atol=1e-6)
    assert found.labels.tolist() == [1]


def test_what_holds_no_single_record_is_refused_and_so_is_adam():
    recipe = Recipe(40, 0.05, 40, 3)
    x = torch.randn(40, 3, 2, 2, dtype=torch.float64)
    victim = trained(mlp(), x, torch.arange(40) % 3, recipe, torch.arange(40).repeat(3, 1))
    with pytest.raises(Unsupported, match="alone"):
        Imprint().init(victim, recipe, 0)
    with pytest.raises(Unsupported, match="adam rescales"):
        Imprint().init(victim, Recipe(40, 0.05, 40, 3, optimizer="adam"), 0)
