import dataclasses

import pytest
import torch

from memaudit.attacks.base import Unsupported
from memaudit.attacks.images import compose
from memaudit.attacks.simudy import SimuDy


def run(attack, victim, recipe, steps=None, seed=0):
    state = attack.init(victim, recipe, seed)
    for _ in range(attack.iterations if steps is None else steps):
        state = attack.step(victim, recipe, state)
    return state


def test_recovers_random_training_data_exactly_enough(tiny):
    victim, recipe, x, _ = tiny
    attack = SimuDy(iterations=250, step_size=0.1, alpha=0.0, beta=0.0, parametrisation="pixels")
    states = [run(attack, victim, recipe, seed=seed) for seed in range(3)]
    found = min((attack.finish(victim, recipe, state) for state in states), key=lambda found: found.loss)
    assert all(state.done for state in states)
    assert found.loss < 1e-3
    assert sorted(found.labels.tolist()) == [0, 0, 1, 2]
    distances = torch.cdist(x.flatten(1), found.normalised.flatten(1))
    assert float(distances.min(1).values.mean()) < 0.05 * float(torch.cdist(x.flatten(1), x.flatten(1)).mean())


@pytest.mark.parametrize("parametrisation", ["pyramid", "pixels"])
@pytest.mark.parametrize("distance", ["log_cosine", "cosine", "euclidean"])
def test_every_distance_brings_the_loss_down(tiny, distance, parametrisation):
    victim, recipe, *_ = tiny
    attack = SimuDy(iterations=60, step_size=0.1, beta=0.0, distance=distance, parametrisation=parametrisation)
    first = run(attack, victim, recipe, 1)
    last = run(attack, victim, recipe)
    assert float(last.memory["best_loss"]) < 0.5 * first.loss


def test_the_best_iterate_is_chosen_by_the_visible_loss(tiny):
    victim, recipe, *_ = tiny
    attack = SimuDy(iterations=40, step_size=2.0)
    state, seen = attack.init(victim, recipe, 0), []
    for _ in range(40):
        x = compose(state.variables)
        state = attack.step(victim, recipe, state)
        seen.append((state.loss, x))
    best = min(seen, key=lambda pair: pair[0])
    assert float(state.memory["best_loss"]) == best[0]
    assert torch.equal(state.memory["best_x"], best[1])


def test_clip_is_annealed_and_then_lifted():
    attack = SimuDy(iterations=100, clip=20.0)
    limits = [attack.clip_at(step) for step in range(100)]
    assert limits[0] == 20
    assert limits == sorted(limits)
    assert limits[50] == float("inf")
    assert SimuDy(clip=0).clip_at(0) == float("inf")


def test_fewer_epochs_can_be_simulated(tiny):
    victim, recipe, *_ = tiny
    assert len(SimuDy(epochs=1).init(victim, recipe, 0).constants["plan"]) == 1
    assert len(SimuDy().init(victim, recipe, 0).constants["plan"]) == recipe.steps


def test_one_logit_is_refused(tiny):
    victim, recipe, *_ = tiny
    with pytest.raises(Unsupported, match="at least two logits"):
        SimuDy().init(dataclasses.replace(victim, classes=1), recipe, 0)


@pytest.mark.parametrize(
    "wrong", [{"iterations": 0}, {"step_size": 0.0}, {"alpha": -1.0}, {"clip": -1.0}, {"epochs": -1}, {"warmup": -1}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SimuDy(**wrong)
