import dataclasses

import pytest
import torch

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.onestep import OneStep
from memaudit.attacks.twostep import TwoStep

from ..conftest import mlp, trained


def run(attack, victim, recipe, count=None):
    state = attack.init(victim, recipe, 0)
    for _ in range(attack.iterations if count is None else count):
        state = attack.step(victim, recipe, state)
    return state


def victim_of(k=3, epochs=3, lr=0.05):
    torch.manual_seed(7)  # not the attack's, whose noise would be the images
    recipe = Recipe(size=3, lr=lr, batch_size=3, epochs=epochs)
    x, labels = torch.randn(3, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 0])
    return trained(mlp(k=k), x, labels, recipe, torch.arange(3).repeat(epochs, 1)), recipe, x, labels


def test_two_steps_of_training_are_explained_exactly():
    """The gradients of two steps lie at theta0 and at theta1: with theta_f taken for theta1 the weights are lr / n."""
    victim, recipe, x, labels = victim_of(epochs=1)
    second = trained_on(victim, x, labels, recipe)
    change = {name: second[name] - value for name, value in victim.theta0.items()}
    later = dataclasses.replace(victim)
    object.__setattr__(later, "delta", change)
    attack = TwoStep(iterations=1, refit=1, factor=1.0)
    state = attack.init(later, recipe, 0)
    state = dataclasses.replace(state, variables={**state.variables, "x": x}, constants={"labels": labels})
    state = attack.step(later, recipe, state)
    assert state.terms["cosine"] == pytest.approx(0, abs=1e-9)
    assert state.terms["change_ratio"] == pytest.approx(1, abs=1e-6)
    assert state.memory["best.multipliers"].tolist() == pytest.approx([recipe.lr / 3] * 6, rel=1e-3)


def trained_on(victim, x, labels, recipe):
    """Return the parameters after one more step of SGD."""
    theta = {name: value.clone().requires_grad_() for name, value in victim.thetaf.items()}
    loss = torch.nn.functional.cross_entropy(victim.logits(theta, x), labels)
    grads = torch.autograd.grad(loss, list(theta.values()))
    return {name: (theta[name] - recipe.lr * grad).detach() for name, grad in zip(theta, grads, strict=True)}


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("refit", [0, 20])
def test_the_loss_falls(k, refit):
    victim, recipe, *_ = victim_of(k)
    attack = TwoStep(iterations=150, step_size=0.1, alpha=0.0, refit=refit)
    first, last = (attack.finish(victim, recipe, run(attack, victim, recipe, count)) for count in (1, 150))
    assert last.loss < 0.3 * first.loss
    assert last.records.shape == (6, 3, 2, 2)
    assert sorted(last.labels.unique().tolist()) == list(range(max(k, 2)))


def test_both_ends_count():
    victim, recipe, *_ = victim_of()
    state = run(TwoStep(iterations=5), victim, recipe)
    weights = state.memory["best.multipliers"]
    assert len(weights) == 12
    assert float(TwoStep().finish(victim, recipe, state).influence.min()) > 0
    # Without weights at theta0 it is the one-step attack.
    half = dataclasses.replace(state, memory={**state.memory, "best.multipliers": weights * (torch.arange(12) < 6)})
    one = dataclasses.replace(state, memory={**state.memory, "best.multipliers": weights[:6]})
    found = TwoStep().finish(victim, recipe, half).influence, OneStep().finish(victim, recipe, one).influence
    assert torch.allclose(*found)


def test_adam_is_refused():
    victim, recipe, *_ = victim_of()
    with pytest.raises(Unsupported, match="adam"):
        TwoStep().init(victim, dataclasses.replace(recipe, optimizer="adam"), 0)


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"step_size": 0.0}, {"multiplier_step": -1.0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TwoStep(**wrong)
