import dataclasses

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.params import cosine_distance
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.variables import compose
from memaudit.attacks.optimise.distances import running_error
from memaudit.attacks.simudy import RECOUNTS, SimuDy
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import batch_plan, influence, simulate

from ..conftest import Residual, conv, mlp, trained


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
    distances = torch.cdist(x.flatten(1), found.inputs.flatten(1))
    assert float(distances.min(1).values.mean()) < 0.05 * float(torch.cdist(x.flatten(1), x.flatten(1)).mean())


@pytest.mark.parametrize("parametrisation", ["pyramid", "pixels"])
@pytest.mark.parametrize("distance", ["log_cosine", "cosine", "euclidean"])
def test_every_distance_brings_the_loss_down(tiny, distance, parametrisation):
    victim, recipe, *_ = tiny
    options = {"distance": distance, "parametrisation": parametrisation}
    attack = SimuDy(iterations=40, step_size=0.1, alpha=0.0, beta=0.0, **options)  # noise is neither smooth nor bounded
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


@pytest.mark.parametrize(
    ("options", "about", "epochs"),
    [
        ({}, {}, [5, 10, 10, 20]),
        ({"coarse": 0}, {}, [20, 20, 20, 20]),
        ({"fit_lr": True}, {}, [20, 20, 20, 20]),
        ({}, {"optimizer": "adam"}, [20, 20, 20, 20]),
        ({}, {"epochs": 4}, [4, 4, 4, 4]),
        ({"epochs": 3}, {}, [3, 3, 3, 3]),
    ],
    ids=["more-and-more", "none", "the-rate-is-fitted", "adam", "short-training", "fewer-epochs"],
)
def test_most_updates_simulate_fewer_steps_that_travel_as_far(tiny, monkeypatch, options, about, epochs):
    victim, recipe, *_ = tiny
    recipe, seen = dataclasses.replace(recipe, **{"epochs": 20, "labels": (2, 1, 1), **about}), []

    def spy(victim, recipe, x, labels, plan, **more):
        seen.append(recipe)
        assert len(plan) == recipe.steps
        return simulate(victim, recipe, x, labels, plan, **more)

    monkeypatch.setattr("memaudit.attacks.simudy.simulate", spy)
    run(SimuDy(iterations=4, **options), victim, recipe)
    assert [one.epochs for one in seen] == epochs
    assert [one.travel for one in seen] == pytest.approx([seen[-1].travel] * 4)


def test_the_loss_of_a_coarse_simulation_is_no_best_one(tiny):
    victim, recipe, *_ = tiny
    recipe = dataclasses.replace(recipe, epochs=20)
    attack = SimuDy(iterations=40, step_size=0.1, alpha=0.0, beta=0.0, clip=0)
    state, seen = attack.init(victim, recipe, 0), []
    for _ in range(40):
        state = attack.step(victim, recipe, state)
        seen.append(state.loss)
    assert float(state.memory["best_loss"]) == pytest.approx(min(seen[31:]), rel=1e-6)


def test_one_logit_is_a_binary_classifier():
    """Recovers the images of a network with the logistic loss; the labels are corrected on the way."""
    recipe = Recipe(4, 0.05, 4, 4)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 1))
    x, labels = torch.randn(4, 3, 2, 2, dtype=torch.float64), torch.tensor([1, 1, 0, 1])
    victim = trained(network, x, labels, recipe, torch.arange(4).repeat(4, 1))
    attack = SimuDy(iterations=150, step_size=0.1, alpha=0.0, beta=0.0, parametrisation="pixels")
    found = attack.finish(victim, recipe, run(attack, victim, recipe, seed=1))
    assert (victim.classes, victim.categories) == (1, 2)
    assert found.loss <= attack.tolerance
    assert torch.bincount(found.labels, minlength=2).tolist() == [1, 3]
    distances = torch.cdist(x.flatten(1), found.inputs.flatten(1))
    assert float(distances.min(1).values.mean()) < 0.3 * float(torch.cdist(x.flatten(1), x.flatten(1)).mean())


@pytest.mark.parametrize(
    "wrong", [{"iterations": 0}, {"step_size": 0.0}, {"alpha": -1.0}, {"clip": -1.0}, {"epochs": -1}, {"warmup": -1}]
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SimuDy(**wrong)


def victim_of(module, shape, labels, recipe):
    n = len(labels)
    plan = batch_plan(recipe, n, torch.Generator().manual_seed(1))
    return trained(module, torch.randn(n, *shape), torch.tensor(labels), recipe, plan)


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_the_learning_rate_is_fitted_with_the_images(factor):
    recipe = Recipe(2, 0.1, 2, 5)
    victim = victim_of(conv(), (1, 6, 6), [0, 1], recipe)
    attack = SimuDy(iterations=60, step_size=0.1, alpha=0.0, beta=0.0, fit_lr=True)
    wrong = dataclasses.replace(recipe, lr=factor * recipe.lr)
    state = run(attack, victim, wrong)
    assert 0.75 < factor * state.terms["lr_factor"] < 1.25
    assert state.terms["change_ratio"] == pytest.approx(1, abs=0.05)
    # What is read off the state belongs to the fitted learning rate, not to the wrong one.
    found = attack.finish(victim, wrong, state)
    fitted = dataclasses.replace(wrong, lr=wrong.lr * float(state.variables["log_lr"].exp()))
    plan = state.constants["plan"]
    assert torch.equal(found.influence, influence(victim, fitted, found.inputs, found.labels, plan))


def test_the_fit_starts_from_the_recipe(tiny):
    victim, recipe, *_ = tiny
    attack = SimuDy(iterations=1, fit_lr=True)
    assert float(attack.init(victim, recipe, 0).variables["log_lr"]) == 0
    assert "log_lr" not in SimuDy().init(victim, recipe, 0).variables


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_loss_of_an_adam_victim_falls(optimizer):
    recipe = Recipe(4, 0.01, 4, 4, optimizer=optimizer, weight_decay=0.1)
    victim = victim_of(conv(), (1, 6, 6), [0, 1, 2, 0], recipe)
    attack = SimuDy(iterations=30, step_size=0.1, alpha=0.0, beta=0.0)
    first, last = run(attack, victim, recipe, 1), run(attack, victim, recipe)
    assert float(last.memory["best_loss"]) < 0.5 * first.loss


def test_smoothing_falls_to_a_hundredth_and_never_below_the_recipe(tiny):
    victim, recipe, *_ = tiny
    attack = SimuDy(iterations=100, smoothing=0.5)
    adam = dataclasses.replace(recipe, optimizer="adam")
    state = attack.init(victim, adam, 0)
    unit = float(state.memory["unit"])
    assert attack._smoothed(recipe, state) == recipe
    seen = [attack._smoothed(adam, dataclasses.replace(state, step=step)).eps for step in range(100)]
    assert seen[0] == pytest.approx(0.5 * unit)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == pytest.approx(0.005 * unit)
    large = dataclasses.replace(adam, eps=10.0)
    assert attack._smoothed(large, state) == large
    assert SimuDy(smoothing=0.0)._smoothed(adam, state) == adam


def test_labels_are_corrected_where_the_guess_is_wrong():
    recipe = Recipe(9, 0.05, 9, 4)
    victim = victim_of(mlp(), (3, 2, 2), [0] * 7 + [1] * 2, recipe)
    attack = SimuDy(iterations=40, step_size=0.1, beta=0.0)
    state = run(attack, victim, recipe, RECOUNTS[0])
    assert torch.bincount(state.constants["labels"], minlength=3).tolist() == [3, 3, 3]
    state = run(attack, victim, recipe, RECOUNTS[-1] + 1)
    assert torch.bincount(state.constants["labels"], minlength=3).tolist() == [7, 2, 0]


def test_given_labels_are_never_changed():
    recipe = Recipe(9, 0.05, 9, 2)
    victim = victim_of(mlp(), (3, 2, 2), [0] * 7 + [1] * 2, recipe)
    told = dataclasses.replace(recipe, labels=(3, 3, 3))  # wrong, but the user says so
    attack = SimuDy(iterations=40, step_size=0.1, beta=0.0, relabel=1)
    state = attack.init(victim, told, 0)
    labels = state.constants["labels"]
    assert torch.bincount(labels, minlength=3).tolist() == [3, 3, 3]
    for _ in range(40):
        state = attack.step(victim, told, state)
        assert torch.equal(state.constants["labels"], labels)
    assert torch.equal(attack.finish(victim, told, state).labels, labels)


def test_each_logit_of_a_logistic_loss_finds_a_label_of_its_own():
    """Records with two labels, one and none: no class index can say that."""
    recipe = Recipe(size=3, lr=0.5, batch_size=3, epochs=3, loss="bce")
    x = torch.randn(3, 3, 2, 2, dtype=torch.float64)
    labels = torch.tensor([[1, 1, 0], [0, 0, 1], [0, 0, 0]])
    victim = trained(mlp(), x, labels, recipe, torch.arange(3).repeat(3, 1))
    attack = SimuDy(iterations=200, step_size=0.1, alpha=0.0, beta=0.0, parametrisation="pixels")
    states = [run(attack, victim, recipe, seed=seed) for seed in range(3)]
    state = min(states, key=lambda state: float(state.memory["best_loss"]))
    found = attack.finish(victim, recipe, state)
    assert found.loss < 5e-3
    nearest = torch.cdist(x.flatten(1), found.inputs.flatten(1)).argmin(1)
    assert torch.equal(state.memory["best_targets"][nearest] > 0, labels > 0)
    fixed = dataclasses.replace(recipe, labels=(1, 1, 1))
    assert "targets" not in attack.init(victim, fixed, 0).variables, "counts of classes are one label each"


def test_labels_stay_without_relabelling():
    recipe = Recipe(9, 0.05, 9, 2)
    victim = victim_of(mlp(), (3, 2, 2), [0] * 7 + [1] * 2, recipe)
    attack = SimuDy(iterations=20, step_size=0.1, beta=0.0, relabel=0)
    labels = attack.init(victim, recipe, 0).constants["labels"]
    assert torch.equal(run(attack, victim, recipe).constants["labels"], labels)


@pytest.mark.parametrize("options", [{}, {"optimizer": "adam"}, {"batch_norm": "train"}], ids=["sgd", "adam", "train"])
def test_same_seed_same_bytes_with_relabelling(options):
    recipe = Recipe(7, 0.05, 4, 2, **options)
    module, shape = (Residual(), (1, 6, 6)) if recipe.batch_norm == "train" else (mlp(), (3, 2, 2))
    victim = victim_of(module, shape, [0, 0, 0, 0, 0, 1, 2], recipe)
    attack = SimuDy(iterations=24, step_size=0.1, relabel=2, fit_lr=True)
    first, second = run(attack, victim, recipe, 18), run(attack, victim, recipe, 18)
    for group in ("variables", "constants", "memory"):
        left, right = getattr(first, group), getattr(second, group)
        assert all(torch.equal(value, right[name]) for name, value in left.items())
    assert first.terms == second.terms
    if recipe.optimizer == "sgd":  # one move at a time, as under Adam, may find nothing better
        assert not torch.equal(first.constants["labels"], attack.init(victim, recipe, 0).constants["labels"])


def test_the_best_labels_are_those_of_the_best_images():
    recipe = Recipe(7, 0.05, 7, 2)
    victim = victim_of(mlp(), (3, 2, 2), [0, 0, 0, 0, 0, 1, 2], recipe)
    attack = SimuDy(iterations=40, step_size=0.3, beta=0.0, relabel=2)
    state, seen = attack.init(victim, recipe, 0), []
    for _ in range(40):
        labels, clipped = state.constants["labels"], attack.clip_at(state.step - 1) < float("inf")
        state = attack.step(victim, recipe, state)
        seen.append((clipped, state.loss, labels))
    best = min((point for point in seen if not point[0]), key=lambda point: point[1])
    assert torch.equal(state.constants["best_labels"], best[2])


def test_a_simulation_that_diverges_is_told_by_its_loss():
    """Not by an error, also where class counts are solved for."""
    recipe = Recipe(4, 0.1, 4, 5)
    victim = victim_of(nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Linear(8, 3)), (3, 2, 2), [0, 1, 2, 0], recipe)
    wild = dataclasses.replace(recipe, lr=1e30)
    state = run(SimuDy(iterations=40), victim, wild, RECOUNTS[-1] + 2)
    assert not state.loss < 1e6


def test_running_statistics_are_matched_too():
    torch.manual_seed(1)
    recipe = Recipe(4, 0.1, 4, 4, batch_norm="train", labels=(2, 1, 1))
    victim = victim_of(Residual(), (1, 6, 6), [0, 1, 2, 0], recipe)
    errors = []
    for gamma in (0.0, 1.0):
        attack = SimuDy(iterations=30, step_size=0.1, alpha=0.0, beta=0.0, gamma=gamma)
        first, state = run(attack, victim, recipe, 1), run(attack, victim, recipe)
        found = attack.finish(victim, recipe, state)
        assert found.loss < 0.5 * first.loss
        assert bool(found.influence.isfinite().all())
        with torch.no_grad():
            plan = state.constants["plan"]
            final = simulate(victim, recipe, found.inputs, found.labels, plan, adjoint=FullGraph())
        errors.append(float(running_error(final, victim.running, victim.buffers)))
    assert errors[1] < 0.7 * errors[0]


def augmented(epochs=60, side=16, lr=0.05):
    """Return a conv net that plain torch trained on two images, each mirrored and shifted at random, and the images."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2)
    )
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    images = nn.functional.interpolate(torch.rand(2, 1, 4, 4), size=side, mode="bilinear")
    optimizer = torch.optim.SGD(network.parameters(), lr)
    for _ in range(epochs):
        seen = []
        for image in nn.functional.pad(images, (2, 2, 2, 2)):
            top, left, mirrored = (int(torch.randint(most, ())) for most in (5, 5, 2))
            part = image[:, top : top + side, left : left + side]
            seen.append(part.flip(2) if mirrored else part)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(torch.stack(seen)), torch.arange(2)).backward()
        optimizer.step()
    after = {name: value.detach().clone() for name, value in network.named_parameters()}
    return Victim(network, before, after, {}, images.shape[1:], 2, Images()), images


def test_versions_explain_a_training_that_flipped_and_shifted():
    victim, images = augmented()
    plan, found, true = torch.arange(2).repeat(60, 1), [], []
    for views in (1, 8):
        recipe = Recipe(2, 0.05, 2, 60, views=views, labels=(1, 1))
        with torch.no_grad():
            final = simulate(victim, recipe, images, torch.arange(2), plan, adjoint=FullGraph())
        true.append(float(cosine_distance(victim.change(final), victim.delta)))
        attack = SimuDy(iterations=40, adjoint="full")
        found.append(attack.finish(victim, recipe, run(attack, victim, recipe)))
    assert true[1] < true[0] / 2, "the images themselves"
    assert found[1].loss < 0.8 * found[0].loss, "as many updates of dummies"
    assert len(found[1].records) == len(found[1].influence) == 2
