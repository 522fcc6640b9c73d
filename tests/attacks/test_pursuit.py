"""Pursuit: all records of a small victim are exact, one that cannot be certain says so, and nothing is made up."""

import dataclasses

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.firstlayer import candidates
from memaudit.attacks.firstlayer.features import FITTED
from memaudit.attacks.pursuit import SEEKING, Pursuit
from tests.attacks.test_span import RECIPE, error, net, victim_of

MANY = Recipe(size=20, lr=0.05, batch_size=20, epochs=8)
CASES = {
    "full batch": MANY,
    "batches": dataclasses.replace(MANY, size=10, batch_size=5),
    "momentum and decay": dataclasses.replace(MANY, size=10, batch_size=10, momentum=0.9, weight_decay=5e-3, lr=0.01),
}


def run(victim, recipe, **options):
    attack = Pursuit(**options)
    state = attack.init(victim, recipe, 0)
    while not state.done:
        state = attack.step(victim, recipe, state)
    return attack.finish(victim, recipe, state), state


@pytest.mark.parametrize("name", CASES)
def test_all_records_are_exact_without_recipe_or_labels(name):
    recipe = CASES[name]
    victim, x = victim_of(recipe, net(d=108))
    found, state = run(victim, dataclasses.replace(recipe, lr=float("nan") if not recipe.weight_decay else recipe.lr))
    assert len(found.records) == recipe.size
    assert state.loss <= Pursuit().tolerance
    assert error(found.records, x) < 1e-3
    nearest = torch.cdist(found.inputs.flatten(1), x.flatten(1)).argmin(1)
    assert found.labels.tolist() == (nearest % 3).tolist()
    assert found.doubt == ""
    assert bool((found.influence > 0).all())


def test_one_logit():
    victim, x = victim_of(RECIPE, net(k=1))
    found, _ = run(victim, RECIPE)
    assert error(found.records, x) < 1e-3


def test_without_relus_the_records_are_found_and_not_certain():
    network = net()
    network[2], network[4] = nn.Tanh(), nn.Tanh()
    victim, x = victim_of(RECIPE, network)
    found, state = run(victim, RECIPE, iterations=900)
    assert state.loss > Pursuit().tolerance
    assert found.doubt == SEEKING
    distances = torch.cdist(found.inputs.flatten(1), x.flatten(1)) / x[0].norm()
    assert float(distances.min(1).values.max()) < 0.2
    assert len(found.records) >= 3


def test_a_change_that_no_records_made_has_none():
    victim, _ = victim_of(RECIPE, net())
    gen = torch.Generator().manual_seed(1)
    name = "1.weight"
    random = torch.randn(300, 6, generator=gen) @ torch.randn(6, 108, generator=gen)
    scaled = random * victim.delta[name].norm() / random.norm()
    victim = dataclasses.replace(victim, thetaf={**victim.thetaf, name: victim.theta0[name] + scaled})
    found, state = run(victim, RECIPE, iterations=900)
    assert len(state.memory["found"]) == 0
    assert state.loss == 1
    assert found.doubt == SEEKING
    assert len(found.records) == 6  # the candidates that came nearest


def test_it_refuses_where_too_little_tells_records_apart():
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 36), nn.ReLU(), nn.Linear(36, 3))
    victim, _ = victim_of(dataclasses.replace(MANY, epochs=2), network)
    with pytest.raises(Unsupported, match="room for 16 equations on a record that has 20 unknown numbers"):
        Pursuit().init(victim, MANY, 0)


def test_candidates_near_a_known_record_and_each_other_count_once():
    known = torch.eye(3)[:1]
    signals = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.1, 0.0], [0.0, 1.0, 0.1], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), dim=1
    )
    beyond = torch.tensor([0.01, 0.03, 0.02, 0.5])
    assert candidates._unlike(beyond, signals, known, 0.4) == [2]
    assert candidates._unlike(beyond, signals, known[:0], 0.6) == [0, 2, 3]


def test_candidates_are_free_of_exact_directions_and_fulfil_the_bias():
    known = {"exact": torch.eye(4, 2), "offset": torch.tensor([1.0, 2.0, 3.0, 4.0])}
    w = candidates.aligned(candidates.free(torch.randn(5, 4), known), known)
    assert float((w @ known["exact"]).abs().max()) < 1e-6
    assert torch.allclose(w @ known["offset"], torch.ones(5), atol=1e-5)
    without = {"exact": torch.zeros(4, 0), "offset": torch.zeros(0)}
    assert torch.equal(candidates.aligned(candidates.free(w, without), without), w)


def test_behind_a_frozen_backbone_the_features_are_exact_and_the_images_are_fitted():
    backbone = nn.Conv2d(3, 12, 3, 1, 1).requires_grad_(False)
    network = nn.Sequential(backbone, nn.ReLU(), net(d=432))
    recipe = dataclasses.replace(RECIPE, lr=0.05)
    victim, x = victim_of(recipe, network)
    sides = [{k: v for k, v in s.items() if not k.startswith("0.")} for s in (victim.theta0, victim.thetaf)]
    buffers = {name: value for name, value in victim.theta0.items() if name.startswith("0.")}
    victim = dataclasses.replace(victim, theta0=sides[0], thetaf=sides[1], buffers=buffers)
    found, state = run(victim, recipe, inversion=20)
    features = (state.memory["found"] * state.memory["scale"]) @ state.memory["rows"]
    wanted = torch.relu(backbone(x)).flatten(1).detach()
    assert error(features, wanted) < 0.01 * float(wanted.square().mean().sqrt())
    assert found.doubt == FITTED
