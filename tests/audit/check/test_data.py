from dataclasses import replace

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.attack import generator
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation
from memaudit.audit.check.data import Question, check
from memaudit.audit.check.measures import Unmeasured, by_training
from memaudit.audit.check.training import likeness, trained
from memaudit.audit.data.base import Reading, TrainingSet
from memaudit.audit.machine.alarm import TimeUp
from memaudit.audit.scoring.image import Image

SIDE = 12


def pictures(count, seed):
    """Smooth colour pictures, no two alike."""
    coarse = torch.rand(count, 3, 5, 5, generator=generator(seed))
    return nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=True)


def told(records, readings=()):
    names = tuple(map(str, range(len(records))))
    return TrainingSet(records, torch.full((len(records),), -1), names, (), "", False, readings=readings)


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 40), nn.ReLU(), nn.Linear(40, 4))


def conv():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.Tanh(), nn.Conv2d(8, 16, 3, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(144, 4)
    )


class Attention(nn.Module):
    """Four patches, one block, and a head: no layer has room for its rows."""

    def __init__(self):
        super().__init__()
        self.patch, self.head = nn.Conv2d(3, 16, 6, 6), nn.Linear(16, 4)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)

    def forward(self, x):
        return self.head(self.block(self.patch(x).flatten(2).transpose(1, 2)).mean(1))


NETWORKS = {"dense": dense, "conv": conv, "attention": Attention}
SGD = Recipe(size=6, lr=0.1, batch_size=6, epochs=10)
ADAM = replace(SGD, lr=2e-3, optimizer="adamw")


@pytest.fixture(scope="module", params=[(name, recipe) for name in NETWORKS for recipe in (SGD, ADAM)],
                ids=lambda p: f"{p[0]}-{p[1].optimizer}")  # fmt: skip
def victim(request):
    """A victim, its recipe, its records and their labels."""
    name, recipe = request.param
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    start = {name: value.detach().clone() for name, value in network.named_parameters()}
    blank = Victim(network, start, start, {}, (3, SIDE, SIDE), 4, Images(Normalisation((0.5,), (0.25,))))
    records, labels = pictures(6, 1), torch.arange(6) % 4
    end = trained(blank, recipe, blank.medium.encode(records), labels, generator(0))
    return replace(blank, thetaf=end), recipe, records, labels


def asked(victim, records, control=True, readings=()):
    found, recipe, *_ = victim
    held_out = told(pictures(60, 2)) if control else None
    question = Question(found, recipe, found.delta, Image(found.medium), told(records, readings), held_out)
    return check(question)


def test_the_right_records_explain_the_change(victim):
    found = asked(victim, victim[2])
    assert found.explained
    assert found.unexplained < 0.8 * found.comparisons[0].unexplained
    assert found.comparisons[0].name == "held-out images"
    assert "explain the change" in found.reason


def drowned(victim):
    """The victim with noise of twice its change on it."""
    found, gen = victim[0], generator(7)
    noise = {name: torch.randn(value.shape, generator=gen) for name, value in found.delta.items()}
    size = {name: 2 * value.square().mean().sqrt() for name, value in found.delta.items()}
    after = {name: value + size[name] * noise[name] for name, value in found.thetaf.items()}
    return (replace(found, thetaf=after), *victim[1:])


def test_training_on_the_right_records_shows_through_noise(victim):
    assert asked(drowned(victim), victim[2]).explained
    assert not asked(drowned(victim), pictures(6, 3)).explained


@pytest.mark.parametrize("recipe", [{"lr": 50.0}, {"lr": 1e12}, {"epochs": 3000}], ids=["far", "blown-up", "long"])
def test_a_training_that_says_nothing_is_not_asked(victim, recipe):
    wrong = (victim[0], replace(victim[1], **recipe), *victim[2:])
    assert not asked(wrong, pictures(6, 3)).explained
    change, records = wrong[0].delta, pictures(6, 3)
    measure = by_training(wrong[0], wrong[1], change, records)
    if "epochs" in recipe:
        assert measure is None
    else:
        with pytest.raises(Unmeasured):
            measure(records)


def test_what_was_found_before_the_time_was_up_stands(victim, monkeypatch):
    def late(*_):
        raise TimeUp

    monkeypatch.setattr("memaudit.audit.check.data.by_training", lambda *_: late)
    assert asked(victim, pictures(6, 3)).explained is False
    monkeypatch.setattr("memaudit.audit.check.data._measures", lambda *_: iter([("gradients", late)]))
    with pytest.raises(TimeUp):
        asked(victim, pictures(6, 3))


@pytest.mark.parametrize("wrong", ["others", "turned", "swapped"])
def test_wrong_ones_do_not(victim, wrong):
    records = victim[2]
    given = {"others": pictures(6, 3), "turned": records.rot90(1, (2, 3)), "swapped": records.flip(1).flip(2)}[wrong]
    found = asked(victim, given)
    assert found.explained is False
    assert "Check the folder" in found.reason


def test_held_out_records_of_another_kind_do_not_make_wrong_ones_right(victim):
    found, recipe, *_ = victim
    junk = told(torch.rand(60, 3, SIDE, SIDE, generator=generator(9)))
    assert not check(Question(found, recipe, found.delta, Image(found.medium), told(pictures(6, 3)), junk)).explained


def test_without_held_out_records_wrong_ones_are_not_called_wrong(victim):
    found = asked(victim, pictures(6, 3), control=False)
    assert found.explained is None
    assert "--control" in found.reason


def test_another_reading_that_explains_more_is_named(victim):
    records = victim[2]
    found = asked(victim, records.rot90(1, (2, 3)), readings=(Reading("orientation tag applied", records),))
    assert (found.explained, found.reading) == (True, "orientation tag applied")


def test_nothing_is_drawn_by_chance(victim):
    assert asked(victim, victim[2]) == asked(victim, victim[2])


@pytest.mark.parametrize(("change", "alike"), [({}, True), ({"lr": 3.0}, False), ({"epochs": 1}, False)])
def test_a_training_by_the_recipe_is_like_the_real_one(victim, change, alike):
    found, recipe, records, labels = victim
    scaled = {name: getattr(recipe, name) * value if name == "lr" else value for name, value in change.items()}
    end = trained(found, replace(recipe, **scaled), found.medium.encode(records), labels, generator(5))
    cosine, longer = likeness(found.change(end), found.delta)
    assert (cosine > 0.8 and 0.7 < longer < 1.4) is alike
