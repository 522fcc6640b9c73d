"""SPEAR on parameter changes: exact inputs, or a loud refusal."""

import dataclasses

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.spear import Spear
from tests.attacks.test_span import RECIPE, error, net, victim_of

CASES = {
    "full batch": RECIPE,
    "batches": dataclasses.replace(RECIPE, batch_size=2),
    "momentum and decay": dataclasses.replace(RECIPE, momentum=0.9, weight_decay=5e-3, lr=0.004),
    "one step": dataclasses.replace(RECIPE, epochs=1),
}


def run(victim, recipe, **options):
    attack = Spear(**options)
    state = attack.init(victim, recipe, 0)
    while not state.done:
        state = attack.step(victim, recipe, state)
    return attack.finish(victim, recipe, state), state


@pytest.mark.parametrize("name", CASES)
def test_all_inputs_are_exact(name):
    victim, x = victim_of(CASES[name], net())
    found, state = run(victim, CASES[name])
    assert found.loss == 0
    assert state.terms["directions"] == 6
    assert error(found.records, x) < 1e-3
    assert bool((found.influence > 0).all())


@pytest.mark.parametrize("name", CASES)
def test_the_labels_of_exact_inputs_are_those_that_they_had(name):
    victim, x = victim_of(CASES[name], net())
    found, _ = run(victim, CASES[name])
    nearest = torch.cdist(found.inputs.flatten(1), x.flatten(1)).argmin(1)
    assert found.labels.tolist() == (nearest % 3).tolist()


@pytest.mark.parametrize("after", [nn.Tanh(), nn.LeakyReLU(), nn.GELU()])
def test_without_relus_it_refuses(after):
    network = net()
    network[2] = after
    victim, _ = victim_of(RECIPE, network)
    with pytest.raises(Unsupported, match="no ReLUs follow 1"):
        Spear().init(victim, RECIPE, 0)


def test_biases_that_did_not_decay():
    """The weight forgets early steps, the bias does not, so that strengths are right to first order of the decay."""
    recipe = dataclasses.replace(RECIPE, weight_decay=5e-3, epochs=20)
    victim, x = decayed_but_for_biases(recipe)
    found, _ = run(victim, recipe)
    assert found.loss == 0
    assert error(found.records, x) < 1e-3


def decayed_but_for_biases(recipe):
    """Train with torch's parameter groups, as is common."""
    network = net()
    victim, x = victim_of(dataclasses.replace(recipe, epochs=1), network)
    network.load_state_dict(dict(victim.theta0))
    groups = [[p for p in network.parameters() if p.dim() == n] for n in (2, 1)]
    optimizer = torch.optim.SGD(
        [{"params": groups[0], "weight_decay": recipe.weight_decay}, {"params": groups[1]}], lr=recipe.lr
    )
    for _ in range(recipe.epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), torch.arange(len(x)) % 3).backward()
        optimizer.step()
    last = {name: value.detach().clone() for name, value in network.named_parameters()}
    return dataclasses.replace(victim, thetaf=last), x


def test_the_number_of_samples_is_read_off():
    victim, x = victim_of(RECIPE, net())
    found, _ = run(victim, dataclasses.replace(RECIPE, size=3, batch_size=3))
    assert error(found.records, x) < 1e-3


def test_a_random_low_rank_change_yields_nothing():
    victim, _ = victim_of(RECIPE, net())
    gen = torch.Generator().manual_seed(1)
    noise = torch.randn(300, 6, generator=gen) @ torch.randn(6, 108, generator=gen) * 1e-2
    fake = {**victim.thetaf, "1.weight": victim.theta0["1.weight"] + noise}
    found, _ = run(dataclasses.replace(victim, thetaf=fake), RECIPE, iterations=3)
    assert found.loss > 0
    assert torch.isfinite(found.records).all()


def test_adam_too_many_samples_and_no_bias_are_refused():
    victim, _ = victim_of(RECIPE, net())
    with pytest.raises(Unsupported, match="full rank"):
        Spear().init(victim, dataclasses.replace(RECIPE, optimizer="adamw"), 0)
    with pytest.raises(Unsupported, match="shows 6 training samples, more than the 5"):
        Spear(largest=5).init(victim, RECIPE, 0)
    victim, _ = victim_of(RECIPE, net(bias=False))
    with pytest.raises(Unsupported, match="no trained bias"):
        Spear().init(victim, RECIPE, 0)


@pytest.mark.parametrize("option", ["iterations", "largest"])
def test_options_are_checked(option):
    with pytest.raises(ValueError, match="positive"):
        Spear(**{option: 0})
