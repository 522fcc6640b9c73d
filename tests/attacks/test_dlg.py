import dataclasses

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.dlg import DLG

from ..conftest import mlp, trained


def smooth(k=4):
    network = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.Sigmoid(), nn.Flatten(), nn.Linear(96, k))
    for parameter in network.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    return network


def victim_of(labels, k=4):
    n = len(labels)
    recipe = Recipe(n, 1.0, n, 1)
    x = torch.rand(n, 3, 8, 8, dtype=torch.float64)
    return trained(smooth(k), x, torch.tensor(labels), recipe, torch.arange(n)[None]), recipe, x


def run(attack, victim, recipe, steps, seed=0):
    state = attack.init(victim, recipe, seed)
    for _ in range(steps):
        state = attack.step(victim, recipe, state)
    return state


@pytest.mark.parametrize("k", [1, 4])
def test_image_and_label_follow_from_one_step(k):
    victim, recipe, x = victim_of([1], k)
    found = DLG().finish(victim, recipe, run(DLG(), victim, recipe, 25))
    assert float((found.records - x).square().mean().sqrt()) < 0.01
    assert found.labels.tolist() == [1]
    assert found.loss < DLG.tolerance


def test_the_labels_of_a_batch_are_learned():
    victim, recipe, _ = victim_of([0, 2])
    found = DLG().finish(victim, recipe, run(DLG(), victim, recipe, 10))
    assert sorted(found.labels.tolist()) == [0, 2]
    assert found.loss < DLG.tolerance


def test_the_loss_is_that_before_the_update_and_the_best_is_kept(tiny):
    victim, recipe, *_ = tiny
    attack = DLG(iterations=5)
    state = attack.init(victim, recipe, 0)
    losses, images = [], []
    for _ in range(5):
        images.append(state.variables["x"])
        state = attack.step(victim, recipe, state)
        losses.append(state.loss)
    best = min(range(5), key=losses.__getitem__)
    found = attack.finish(victim, recipe, state)
    assert found.loss == losses[best]
    assert torch.equal(found.inputs, images[best])
    assert state.done
    assert {"cosine", "change_ratio"} <= state.terms.keys()


def test_before_the_first_step_there_is_something_to_show(tiny):
    victim, recipe, *_ = tiny
    state = DLG().init(victim, recipe, 0)
    found = DLG().finish(victim, recipe, state)
    assert torch.equal(found.inputs, state.variables["x"])
    assert found.loss == float("inf")


def test_float32_numbers_stay_float32(tiny):
    _, recipe, x, labels = tiny
    victim = trained(mlp(), x.float(), labels, recipe, torch.arange(4).repeat(3, 1))
    state = run(DLG(), victim, dataclasses.replace(recipe), 2)
    assert {value.dtype for value in state.variables.values()} == {torch.float32}


@pytest.mark.parametrize(
    "wrong", [{"iterations": 0}, {"step_size": -1.0}, {"history": 0}, {"init_scale": 0.0}, {"tolerance": -1.0}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DLG(**wrong)
