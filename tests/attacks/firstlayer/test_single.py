"""Tests of single records: those of the training pass, strangers, mixtures and wrong labels do not."""

import dataclasses

import pytest
import torch
from torch import nn

from memaudit.attacks.explain.inversion import undecayed
from memaudit.attacks.firstlayer.single import single
from memaudit.attacks.firstlayer.subspace import subspace
from memaudit.attacks.simulation.losses import CROSS_ENTROPY
from tests.attacks.test_span import RECIPE, net, victim_of

CASES = {
    "full batch": RECIPE,
    "batches": dataclasses.replace(RECIPE, batch_size=2),
    "momentum and decay": dataclasses.replace(RECIPE, momentum=0.9, weight_decay=5e-3, lr=0.004),
}


def made_on(recipe, network):
    victim, x = victim_of(recipe, network)
    found = subspace(victim, recipe)
    tests = single(victim, undecayed(victim, recipe), found, CROSS_ENTROPY)
    return tests, x.flatten(1) @ found.rows.float().T, torch.arange(len(x)) % max(victim.classes, 2)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("k", [3, 1])
def test_the_records_of_the_training_and_no_others_pass(name, k):
    tests, records, labels = made_on(CASES[name], net(k=k))
    assert list(tests.beside) == ["3"]
    assert tests.equations == 300 - 6 + 300 - len(tests.beside["3"][0]) + len(tests.beside["3"])
    right, signals = tests.proof(records, labels)
    assert float(right.max()) < 0.1
    assert torch.allclose(signals.norm(dim=1), torch.ones(6))
    mixtures = (records + records.roll(1, 0)) / 2
    strangers = torch.randn(records.shape) * records.std(0)
    others = [tests.proof(mixtures, labels), tests.proof(strangers, labels)]
    assert all(float(beyond.mean()) > 3 * float(right.mean()) for beyond, _ in others)
    deeper = [tests.look(some, labels, 0.05).deeper.detach() for some in (records, mixtures, strangers)]
    assert all(float(deeper[0].mean()) < float(other.mean()) - 1 for other in deeper[1:])


def test_a_wrong_label_does_not_pass():
    tests, records, labels = made_on(RECIPE, net())
    right, _ = tests.proof(records, labels)
    wrong, _ = tests.proof(records, (labels + 1) % 3)
    assert float(wrong.min()) > 2 * float(right.max())


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU()])
def test_networks_without_relus_have_the_same_tests(activation):
    network = net()
    network[2], network[4] = activation, activation
    tests, records, labels = made_on(RECIPE, network)
    strangers = torch.randn(records.shape) * records.std(0)
    right, _ = tests.proof(records, labels)
    assert float(tests.proof(strangers, labels)[0].min()) > 2 * float(right.max())


def test_one_hidden_layer_has_the_test_of_the_signals_alone():
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 300), nn.ReLU(), nn.Linear(300, 3))
    tests, records, labels = made_on(RECIPE, network)
    assert not tests.beside
    assert float(tests.look(records, labels, 0.05).deeper.detach().sum()) == 0
    assert float(tests.proof(records, labels)[0].max()) < 0.1


def test_its_look_leads_back_to_a_record():
    tests, records, labels = made_on(RECIPE, net())
    near = (records + 0.3 * torch.randn(records.shape) * records.std(0)).requires_grad_()

    def objective(x):
        look = tests.look(x, labels, 0.1)
        return (look.beyond + 1e-4).log().sum() + look.deeper.sum() / 2

    optimizer = torch.optim.Adam([near], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        objective(near).backward()
        optimizer.step()
    assert torch.cosine_similarity(near.detach(), records).min() > 0.95
