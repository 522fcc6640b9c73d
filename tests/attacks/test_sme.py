from dataclasses import replace

import pytest
import torch

from memaudit.attacks.contract.attack import ALPHA, Unsupported
from memaudit.attacks.contract.params import cosine_distance
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain.inversion import predict
from memaudit.attacks.simudy import SimuDy
from memaudit.attacks.simulation.dynamics import batch_plan
from memaudit.attacks.sme import ALPHAS, MIX, SME, at
from memaudit.audit.run.drive import Budget, drive

from ..conftest import Residual, conv, mlp, trained

PLAIN = {"step_size": 0.1, "search": False, "alpha": 0.0, "beta": 0.0, "parametrisation": "pixels"}


def run(attack, victim, recipe, seed=0):
    state = attack.init(victim, recipe, seed)
    for _ in range(attack.iterations):
        state = attack.step(victim, recipe, state)
    return state


def test_recovers_training_data_whose_labels_are_known():
    recipe = Recipe(size=2, lr=0.1, batch_size=2, epochs=3, labels=(1, 1, 0))
    x, labels = torch.randn(2, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1])
    victim = trained(mlp(), x, labels, recipe, torch.arange(2).repeat(3, 1))
    attack = SME(iterations=150, **PLAIN)
    found = attack.finish(victim, recipe, run(attack, victim, recipe))
    assert found.loss < 5e-3
    assert sorted(found.labels.tolist()) == [0, 1]
    order = found.labels.argsort()
    error = (found.inputs[order] - x).norm() / x.norm()
    assert float(error) < 0.1


def test_half_way_one_gradient_says_more_of_the_change_than_at_either_end():
    recipe = Recipe(size=6, lr=0.2, batch_size=6, epochs=8)
    x, labels = torch.randn(6, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2] * 2)
    victim = trained(mlp(), x, labels, recipe, torch.arange(6).repeat(8, 1))

    def error(mix: float) -> float:
        with torch.no_grad():
            change, _ = predict(at(victim, torch.tensor(mix, dtype=torch.float64)), recipe, x, labels)
        return float(cosine_distance(change, victim.delta))

    assert error(0.5) < 0.5 * min(error(0.0), error(1.0))


def test_ends_of_the_line(tiny):
    victim, *_ = tiny
    for mix, side in ((0.0, victim.theta0), (1.0, victim.thetaf)):
        moved = at(victim, torch.tensor(mix, dtype=torch.float64))
        assert all(torch.allclose(value, side[name], atol=1e-15) for name, value in moved.theta0.items())


def test_the_point_moves_and_stays_between(tiny):
    victim, recipe, *_ = tiny
    state = run(SME(iterations=20, mix_step=0.4), victim, recipe)
    seen = float(state.variables[MIX])
    assert 0 <= seen <= 1
    assert seen != 0.5
    assert float(run(SME(iterations=20, mix_step=0.0), victim, recipe).variables[MIX]) == 0.5


def test_a_start_for_simudy(tiny):
    victim, recipe, *_ = tiny
    first = drive(SME(iterations=40), victim, recipe, 0)
    attack = SimuDy(iterations=10)
    warm = drive(attack, victim, recipe, 0, budget=Budget(steps=1), start=first.state)
    cold = drive(attack, victim, recipe, 0, budget=Budget(steps=1))
    assert warm.state.loss < 0.6 * cold.state.loss
    assert torch.equal(warm.state.constants["labels"], first.state.constants["labels"])


def test_the_run_with_the_lowest_loss_is_kept(tiny):
    victim, recipe, *_ = tiny
    searching = run(SME(iterations=41), victim, recipe)
    runs = [run(SME(iterations=20 + (n == 1), search=False, alpha=a), victim, recipe) for n, a in enumerate(ALPHAS)]
    losses = [float(state.memory["best.loss"]) for state in runs]
    best = losses.index(min(losses))
    assert searching.memory["tried"].tolist() == pytest.approx(losses)
    assert float(searching.memory[ALPHA]) == pytest.approx(ALPHAS[best])
    assert all(torch.allclose(value, searching.variables[name]) for name, value in runs[best].variables.items())
    assert float(searching.memory["best.loss"]) == pytest.approx(min(losses))


def test_without_a_search_the_option_counts(tiny):
    victim, recipe, *_ = tiny
    assert float(run(SME(iterations=6, search=False, alpha=0.07), victim, recipe).memory[ALPHA]) == pytest.approx(0.07)
    state = run(SME(iterations=1, alpha=0.07), victim, recipe)
    assert state.done
    assert float(state.memory[ALPHA]) == pytest.approx(0.07)


def test_simudy_takes_over_the_weight(tiny):
    victim, recipe, *_ = tiny
    first = run(SME(iterations=12), victim, recipe)
    first = replace(first, memory={**first.memory, ALPHA: torch.tensor(0.25)})
    warm = drive(SimuDy(iterations=10), victim, recipe, 0, budget=Budget(steps=1), start=first)
    cold = drive(SimuDy(iterations=10), victim, recipe, 0, budget=Budget(steps=1))
    assert float(warm.state.memory[ALPHA]) == 0.25
    assert float(cold.state.memory[ALPHA]) == pytest.approx(SimuDy().alpha)


@pytest.mark.parametrize("parametrisation", ["pyramid", "pixels", "generator"])
@pytest.mark.parametrize("distance", ["log_cosine", "cosine", "euclidean"])
def test_every_distance_brings_the_loss_down(tiny, distance, parametrisation):
    victim, recipe, *_ = tiny
    options = {"search": False, "chroma": 1.0, "beta": 0.0}  # the images are noise, with as much colour as anything
    attack = SME(iterations=30, distance=distance, parametrisation=parametrisation, **options)
    first = attack.step(victim, recipe, attack.init(victim, recipe, 0))
    assert attack.finish(victim, recipe, run(attack, victim, recipe)).loss < 0.7 * first.loss


def test_one_logit():
    recipe = Recipe(size=4, lr=0.1, batch_size=4, epochs=3)
    x, labels = torch.randn(4, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    network = conv(1)
    network(torch.zeros(1, 1, 6, 6))
    victim = trained(network, x, labels, recipe, torch.arange(4).repeat(3, 1))
    found = SME(iterations=5).finish(victim, recipe, run(SME(iterations=5), victim, recipe))
    assert sorted(found.labels.tolist()) == [0, 0, 1, 1]


def test_batch_norm_in_train_mode():
    recipe = Recipe(size=4, lr=0.05, batch_size=4, epochs=2, batch_norm="train")
    x, labels = torch.randn(4, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    plan = batch_plan(recipe, 4, torch.Generator())
    victim = trained(Residual(), x, labels, recipe, plan)
    attack = SME(iterations=40, **PLAIN)
    first = attack.step(victim, recipe, attack.init(victim, recipe, 0))
    found = attack.finish(victim, recipe, run(attack, victim, recipe))
    assert found.loss < 0.5 * first.loss
    assert (found.influence > 0).all()


def test_momentum_and_weight_decay_are_in_the_prediction():
    recipe = Recipe(size=4, lr=0.02, batch_size=4, epochs=10, momentum=0.9, weight_decay=0.05)
    x, labels = torch.randn(4, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    victim = trained(mlp(), x, labels, recipe, torch.arange(4).repeat(10, 1))
    middle = at(victim, torch.tensor(0.5, dtype=torch.float64))
    with torch.no_grad():
        told, untold = (
            cosine_distance(predict(middle, replace(recipe, weight_decay=decay), x, labels)[0], victim.delta)
            for decay in (0.05, 0.0)
        )
    assert float(told) < 0.5 * float(untold)


def test_adam_is_refused(tiny):
    victim, recipe, *_ = tiny
    with pytest.raises(Unsupported, match="adam"):
        SME().init(victim, replace(recipe, optimizer="adam"), 0)


@pytest.mark.parametrize("options", [{"iterations": 0}, {"step_size": -1.0}, {"mix_step": -1.0}, {"tolerance": -1.0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="must"):
        SME(**options)
