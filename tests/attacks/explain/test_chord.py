"""Three gradients that stand for a training."""

from dataclasses import replace

import torch

from memaudit.attacks.contract.params import cosine_distance, norm, subtract
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain.chord import chord
from memaudit.attacks.explain.inversion import predict
from memaudit.attacks.sme import SME, at

from ...conftest import mlp, trained


def subject():
    recipe = Recipe(size=6, lr=0.2, batch_size=6, epochs=12)
    x, labels = torch.randn(6, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2] * 2)
    return trained(mlp(), x, labels, recipe, torch.arange(6).repeat(12, 1)), recipe, x, labels


def test_three_nodes_explain_more_than_one_at_its_best_place_and_need_no_rate():
    victim, recipe, x, labels = subject()
    with torch.no_grad():
        ones = [predict(at(victim, torch.tensor(mix).double()), recipe, x, labels)[0] for mix in (0.0, 0.25, 0.5, 1.0)]
        found = chord(victim, recipe, x, labels)
        other = chord(victim, replace(recipe, lr=7.0, epochs=1), x, labels)
    assert float(cosine_distance(found, victim.delta)) < 0.7 * min(
        float(cosine_distance(a, victim.delta)) for a in ones
    )
    assert float(norm(subtract(found, victim.delta)) / norm(victim.delta)) < 0.3  # the length too
    assert float(cosine_distance(other, found)) < 1e-9


def test_its_gradient_is_that_of_the_distance():
    victim, recipe, x, labels = subject()

    def error(given: torch.Tensor) -> torch.Tensor:
        return norm(subtract(chord(victim, recipe, given, labels), victim.delta)) ** 2

    given = (0.5 * x).requires_grad_()
    (slope,) = torch.autograd.grad(error(given), given)
    way = torch.randn_like(x)
    step = 1e-5
    numeric = (error(given.detach() + step * way) - error(given.detach() - step * way)) / (2 * step)
    assert torch.allclose((slope * way).sum(), numeric, rtol=1e-3)


def test_it_serves_as_the_criterion_of_sme():
    victim, recipe, *_ = subject()
    attack = SME(iterations=60, search=False, alpha=0.0, nodes=3)
    first = state = attack.step(victim, recipe, attack.init(victim, recipe, 0))
    while not state.done:
        state = attack.step(victim, recipe, state)
    assert attack.finish(victim, recipe, state).loss < 0.5 * first.loss
