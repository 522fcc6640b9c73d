import pytest
import torch
from torchvision.models import resnet18

from memaudit.audit.change.ladders import ladders, read_ladders

from ...attacks.firstlayer.test_stored import plain, planted


def test_a_base_made_to_store_is_told_by_its_layer():
    fact = read_ladders(planted().state_dict())
    assert "1.weight" in fact.value
    assert "64 of the 64 units of 1.weight" in fact.evidence


@pytest.mark.parametrize("make", [plain, resnet18])
def test_ordinary_networks_are_not(make):
    assert read_ladders(make().state_dict()) is None


def test_a_few_such_units_among_many_are_not():
    state = plain(256).state_dict()
    made = planted(32).state_dict()
    state["1.weight"][:32], state["1.bias"][:32] = made["1.weight"], made["1.bias"]
    assert ladders(state) == {}
    assert ladders({"w": torch.ones(3), "weight": torch.ones(64, 20)}) == {}
