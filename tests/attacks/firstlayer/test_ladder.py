import pytest
import torch
from torch import nn

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.firstlayer.ladder import ladder, made
from memaudit.attacks.firstlayer.subspace import subspace

from ...conftest import trained
from .test_stored import SIDE, plain, planted


def test_a_ladder_is_in_the_order_of_its_thresholds():
    layer = planted()[1]
    order = ladder(layer.weight.detach().double(), layer.bias.detach().double())
    assert torch.equal(order, torch.arange(64))
    shuffled = torch.randperm(64)
    found = ladder(layer.weight.detach()[shuffled].double(), layer.bias.detach()[shuffled].double())
    assert torch.equal(shuffled[found], torch.arange(64))
    assert made(layer.weight.detach(), layer.bias.detach())


def test_attacks_that_tell_inputs_by_silent_units_refuse_it():
    recipe = Recipe(3, 0.01, 3, 1)
    x = torch.randn(3, 1, 1, SIDE, dtype=torch.float64)
    victim = trained(planted(), x, torch.arange(3), recipe, torch.arange(3)[None])
    with pytest.raises(Unsupported, match="share one direction") as refusal:
        subspace(victim, recipe)
    assert "imprint" in refusal.value.hint


@pytest.mark.parametrize(
    "network", [plain(), plain(256), nn.Sequential(nn.Linear(1, 64)), nn.Sequential(nn.Linear(SIDE, 4))]
)
def test_what_is_initialised_as_usual_is_no_ladder(network):
    layer = next(part for part in network if isinstance(part, nn.Linear))
    assert not len(ladder(layer.weight.detach().double(), layer.bias.detach().double()))


def test_copies_of_one_unit_are_no_ladder():
    weight, bias = torch.randn(1, SIDE).expand(64, -1), torch.zeros(64)
    assert not len(ladder(weight, bias))
