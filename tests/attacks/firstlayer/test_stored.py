import pytest
import torch
from torch import nn

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain.inversion import undecayed
from memaudit.attacks.firstlayer.stored import explained, first_change, stored

from ...conftest import trained

SIDE, UNITS, CLASSES = 24, 64, 3


def planted(bins=UNITS):
    """A network whose first layer lets one record pass at each threshold (Fowl et al., 2022)."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE, bins), nn.ReLU(), nn.Linear(bins, 32), nn.ReLU(),
                            nn.Linear(32, CLASSES))  # fmt: skip
    with torch.no_grad():
        network[1].weight.copy_(torch.full((bins, SIDE), 1 / SIDE))
        network[1].bias.copy_(-torch.linspace(-0.6, 0.6, bins))
        network[3].weight.copy_(network[3].weight[:, :1].expand(-1, bins))
    return network


def plain(units=UNITS):
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE, units), nn.ReLU(), nn.Linear(units, CLASSES))


def change_of(network, count, steps=1, lr=0.01, **more):
    """The first layer of a network that was trained on random records, and these."""
    recipe = Recipe(count, lr, count, steps, **more)
    x = torch.randn(count, 1, 1, SIDE, dtype=torch.float64)
    victim = trained(network, x, torch.arange(count) % CLASSES, recipe, torch.arange(count).repeat(steps, 1))
    return first_change(victim, undecayed(victim, recipe)), x.flatten(1)


def right(found, x):
    """How many of what was found is a record, to a thousandth."""
    return int((torch.cdist(found, x).min(1).values < 1e-3 * x.norm(dim=1).mean()).sum())


def test_between_the_steps_of_a_ladder_lies_one_record_each():
    layer, x = change_of(planted(), 8)
    found = stored(layer)
    sums = x.mean(1)
    bins = torch.bucketize(sums, -layer.bias)
    alone = sum(int((bins == place).sum()) == 1 for place in bins.tolist())
    assert alone >= 4
    assert right(found, x) == alone
    assert explained(layer, found)[1] < 1e-6


@pytest.mark.parametrize("steps", [1, 20])
@pytest.mark.parametrize("count", [1, 2])
def test_units_that_one_record_alone_passed_hold_it(count, steps):
    layer, x = change_of(plain(), count, steps)
    found = stored(layer)
    assert len(found) == right(found, x) == count


def test_decay_is_undone():
    layer, x = change_of(plain(), 1, 1, weight_decay=0.01)
    assert right(stored(layer), x) == 1


@pytest.mark.parametrize("seed", range(5))
def test_mixtures_of_many_records_are_none(seed):
    torch.manual_seed(seed)
    layer, x = change_of(plain(), 30, 3)
    found = stored(layer)
    assert len(found) == right(found, x)


def test_mixtures_of_one_ratio_explain_next_to_nothing():
    """One logit and one layer: all units mix two records alike, so that many agree on what is no record."""
    recipe = Recipe(10, 0.01, 10, 1)
    x = torch.randn(10, 1, 1, SIDE, dtype=torch.float64) + 1
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE, UNITS), nn.ReLU(), nn.Linear(UNITS, 1))
    victim = trained(network, x, torch.arange(10) % 2, recipe, torch.arange(10)[None])
    layer = first_change(victim, undecayed(victim, recipe))
    found = stored(layer)
    assert right(found, x.flatten(1)) == len(found) or explained(layer, found)[1] > 0.1


def test_a_layer_without_a_bias_is_refused():
    recipe = Recipe(1, 0.01, 1, 1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE, 8, bias=False), nn.ReLU(), nn.Linear(8, CLASSES))
    victim = trained(
        network,
        torch.randn(1, 1, 1, SIDE, dtype=torch.float64),
        torch.tensor([0]),
        recipe,
        torch.zeros(1, 1, dtype=int),
    )
    with pytest.raises(Unsupported, match="bias"):
        first_change(victim, undecayed(victim, recipe))
