"""The span attack: exact on small victims however they were trained, and honest where it cannot be."""

import dataclasses

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.firstlayer.certificate import certified
from memaudit.attacks.firstlayer.features import features_of
from memaudit.attacks.firstlayer.subspace import first_layer
from memaudit.attacks.span import Span
from tests.conftest import trained

RECIPE = Recipe(size=6, lr=0.02, batch_size=6, epochs=6)


def net(k: int = 3, bias: bool = True, d: int = 108) -> nn.Module:
    layers = (nn.Linear(d, 300, bias=bias), nn.ReLU(), nn.Linear(300, 60), nn.ReLU(), nn.Linear(60, k))
    return nn.Sequential(nn.Flatten(), *layers)


def victim_of(recipe: Recipe, network: nn.Module, dtype=torch.float32, seed: int = 2):
    gen = torch.Generator().manual_seed(seed)
    # Smooth pictures in [0, 1], so that the prior on smoothness is right about them.
    coarse = torch.rand(recipe.size, 3, 3, 3, generator=gen)
    x = nn.functional.interpolate(coarse, size=(6, 6), mode="bilinear", align_corners=True)
    classes = network.eval()(x[:1]).shape[1]
    labels = torch.arange(recipe.size) % max(classes, 2)
    order = torch.cat([torch.randperm(recipe.size, generator=gen) for _ in range(recipe.epochs)])
    plan = order.view(-1, recipe.batch_size)
    return trained(network, x.to(dtype), labels, recipe, plan), x.to(dtype)


def run(victim, recipe, **options):
    attack = Span(**{"iterations": 150, "certify": 10, **options})
    state = attack.init(victim, recipe, 0)
    while not state.done:
        state = attack.step(victim, recipe, state)
    return attack.finish(victim, recipe, state), state


def error(found: torch.Tensor, x: torch.Tensor) -> float:
    """Return the largest root mean square error of any image after one-to-one matching."""
    distances = torch.cdist(x.flatten(1), found.to(x).flatten(1)) / x[0].numel() ** 0.5
    rows, columns = linear_sum_assignment(distances.numpy())
    return float(distances[rows, columns].max())


CASES = {
    "full batch": RECIPE,
    "batches, order unknown": dataclasses.replace(RECIPE, batch_size=2),
    "momentum and decay": dataclasses.replace(RECIPE, momentum=0.9, weight_decay=5e-3, lr=0.004),
}


@pytest.mark.parametrize("name", CASES)
def test_all_images_are_exact(name):
    victim, x = victim_of(CASES[name], net())
    found, state = run(victim, CASES[name])
    assert state.terms["exact"] == 6
    assert error(found.records, x) < 1e-3
    assert found.loss < 5e-3
    assert bool((found.influence > 0).all())


def test_a_wrong_size_is_replaced_by_the_rank():
    victim, x = victim_of(RECIPE, net())
    found, _ = run(victim, dataclasses.replace(RECIPE, size=9, batch_size=9))
    assert len(found.records) == 6
    assert error(found.records, x) < 1e-3


def test_one_logit():
    victim, x = victim_of(RECIPE, net(k=1))
    assert victim.classes == 1
    found, _ = run(victim, RECIPE)
    assert error(found.records, x) < 1e-3
    assert set(found.labels.tolist()) <= {0, 1}


def test_without_bias_the_simulation_finds_the_scale():
    victim, x = victim_of(RECIPE, net(bias=False))
    found, _ = run(victim, RECIPE, iterations=300)
    assert error(found.records, x) < 0.05


def test_a_frozen_backbone_gives_exact_features_and_images_that_have_them():
    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv2d(3, 12, 3, 1, 1), net(d=432)

        def forward(self, x):
            return self.head(torch.relu(self.body(x)))

    network = Backbone()
    network.body.requires_grad_(False)
    recipe = dataclasses.replace(RECIPE, lr=0.05)
    victim, x = victim_of(recipe, network)
    sides = [{k: v for k, v in s.items() if not k.startswith("body")} for s in (victim.theta0, victim.thetaf)]
    buffers = {name: value for name, value in victim.theta0.items() if name.startswith("body")}
    victim = dataclasses.replace(victim, theta0=sides[0], thetaf=sides[1], buffers=buffers)
    found, state = run(victim, recipe)
    layer = first_layer(victim)
    assert layer.features
    wanted, got = (features_of(victim, layer, images).detach() for images in (x, found.inputs))
    assert state.terms["exact"] == 6
    assert error(got, wanted) < 0.01 * float(wanted.square().mean().sqrt())
    assert found.doubt  # other images have these features, too


def test_a_logit_that_the_network_squeezes_away():
    network = nn.Sequential(net(k=1), nn.Flatten(0))
    victim, x = victim_of(dataclasses.replace(RECIPE, size=4, batch_size=4), net(k=1))
    parameters = [{f"0.{name}": value for name, value in side.items()} for side in (victim.theta0, victim.thetaf)]
    victim = dataclasses.replace(victim, module=network, theta0=parameters[0], thetaf=parameters[1])
    found, _ = run(victim, dataclasses.replace(RECIPE, size=4, batch_size=4))
    assert error(found.records, x) < 0.02


def test_adam_is_refused():
    victim, _ = victim_of(RECIPE, net())
    with pytest.raises(Unsupported, match="full rank"):
        Span().init(victim, dataclasses.replace(RECIPE, optimizer="adam"), 0)


def test_a_run_without_the_data_does_not_converge():
    """A pair whose change is noise of low rank: nothing trained on images explains it."""
    victim, _ = victim_of(RECIPE, net())
    gen = torch.Generator().manual_seed(1)
    noise = {name: torch.randn(value.shape, generator=gen) * value.norm() / value.numel() ** 0.5 * 0.1
             for name, value in victim.theta0.items()}  # fmt: skip
    noise["1.weight"] = torch.randn(300, 6, generator=gen) @ torch.randn(6, 108, generator=gen) * 1e-2
    fake = {name: value + noise[name] for name, value in victim.theta0.items()}
    found, state = run(dataclasses.replace(victim, thetaf=fake), RECIPE, iterations=60)
    assert state.terms["exact"] == 0
    assert found.loss > 0.1


@pytest.mark.parametrize("name", ["iterations", "step_size", "init_scale"])
def test_options_are_checked(name):
    with pytest.raises(ValueError, match=name):
        Span(**{name: 0})


def test_directions_are_certified_from_poor_inputs_and_not_from_others():
    gen = torch.Generator().manual_seed(0)
    weight, true = torch.randn(200, 30, generator=gen).double(), torch.randn(5, 30, generator=gen).double()
    signals = torch.randn(200, 5, generator=gen).double() * (weight @ true.T > 0)
    basis = torch.linalg.qr(signals @ torch.randn(5, 5, generator=gen).double()).Q
    poor = true + 0.3 * torch.randn(5, 30, generator=gen)
    found = certified(basis, poor.double() @ weight.T)
    assert found.q.shape == (5, 5)
    wanted = torch.nn.functional.normalize(torch.linalg.pinv(basis) @ signals, dim=0)[:, found.owners]
    assert torch.allclose((wanted * found.q).sum(0).abs(), torch.ones(5).double(), atol=1e-9)
    nothing = certified(basis, torch.randn(5, 200, generator=gen))
    assert nothing.q.shape == (5, 0)


def test_it_computes_the_same_in_less_memory():
    victim, _ = victim_of(RECIPE, net(), torch.float64)
    attack, loss = Span(coarse=0), []
    state = attack.init(victim, RECIPE, 0)
    while state is not None:
        loss.append(attack.step(victim, RECIPE, attack.step(victim, RECIPE, state)).loss)
        less = attack.smaller(state)
        state = less[0] if less else None
    assert len(loss) == 6
    assert loss == pytest.approx([loss[0]] * 6, rel=1e-9)
    free = attack.init(victim, RECIPE, 0)
    tight = attack.fitted(victim, RECIPE, free, float(free.constants["bytes"]) - 1)
    assert int(tight.constants["adjoint"]) > int(free.constants["adjoint"])
    with pytest.raises(Unsupported, match="max-memory"):
        attack.fitted(victim, RECIPE, free, 1000.0)
