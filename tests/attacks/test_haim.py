import dataclasses

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from memaudit.attacks.contract.attack import State, Unsupported
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain.kkt import calmed, residual, spread
from memaudit.attacks.explain.multipliers import combine
from memaudit.attacks.haim import Haim
from memaudit.attacks.simulation.activations import activations, smooth_backward
from memaudit.attacks.simulation.losses import margins

from ..conftest import trained

SHAPE = (1, 6, 6)
RECIPE = Recipe(size=4, lr=0.1, batch_size=4, epochs=400, momentum=0.9, weight_decay=2e-2)


def decayed(k=1, size=4):
    """Return a victim that weight decay has brought to rest, its recipe, images and labels."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 200), nn.ReLU(), nn.Linear(200, k))
    x, labels = torch.randn(size, *SHAPE).clamp(-2, 2), torch.arange(size) % max(k, 2)
    recipe = dataclasses.replace(RECIPE, size=size, batch_size=size)
    return trained(network, x, labels, recipe, torch.arange(size).repeat(RECIPE.epochs, 1)), recipe, x, labels


@pytest.fixture(scope="module")
def rested():
    torch.set_num_threads(1)
    return decayed()


def run(attack, victim, recipe, seed=0):
    state = attack.init(victim, recipe, seed)
    for _ in range(attack.iterations):
        state = attack.step(victim, recipe, state)
    return attack.finish(victim, recipe, state), state


def alike(x, images):
    """Return the mean over true images of the cosine to the nearest of ``images``."""
    a, b = (normalize(images.flatten(1), dim=1) for images in (x, images))
    return float((a @ b.T).max(1).values.mean())


def test_weight_decay_balances_the_gradients_of_the_true_images(rested):
    """The oracle: with the true images and the multipliers of the stationary point, the parameters are explained."""
    victim, recipe, x, labels = rested
    with torch.no_grad():
        multipliers = margins(victim.logits(victim.thetaf, x), labels).neg().sigmoid() / len(x) / recipe.weight_decay
    point = (victim.thetaf, lambda logits, rows: (multipliers[rows] * margins(logits, labels[rows])).sum())
    with activations(smooth_backward(50.0)):
        true = combine(victim, recipe, [point], x)
        other = combine(victim, recipe, [point], x.flip(0))
    assert float(residual(true, victim.thetaf).detach()) < 0.05
    assert float(residual(other, victim.thetaf).detach()) > 0.5


@pytest.mark.parametrize("k", [1, 2])
def test_recovers_images_of_a_stationary_binary_victim(k):
    victim, recipe, x, _ = decayed(k)
    attack = Haim(iterations=200, beta=0.0, sharpness=50.0)
    found, state = run(attack, victim, recipe)
    noise = attack.init(victim, recipe, 0).variables["x"]
    assert state.done
    assert found.loss <= attack.tolerance
    assert found.records.shape == (8, *SHAPE)
    assert sorted(found.labels.tolist()) == [0] * 4 + [1] * 4
    assert alike(x, found.inputs) > 0.65 > 0.35 > alike(x, noise)
    # What explains most is a training image rather than what is left over.
    strong = found.inputs[found.influence.argsort(descending=True)[:4]]
    assert alike(strong, x) > 0.65


def test_nothing_is_claimed_where_training_hardly_moved_the_network():
    recipe = Recipe(size=4, lr=0.01, batch_size=4, epochs=3)
    x, labels = torch.randn(4, *SHAPE), torch.tensor([0, 1, 0, 1])
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 40), nn.ReLU(), nn.Linear(40, 1))
    victim = trained(network, x, labels, recipe, torch.arange(4).repeat(3, 1))
    attack = Haim(iterations=100)
    found, _ = run(attack, victim, recipe)
    assert found.loss > 5 * attack.tolerance


def test_more_classes_are_refused(tiny):
    victim, recipe, *_ = tiny
    with pytest.raises(Unsupported, match="3 classes") as caught:
        Haim().init(victim, recipe, 0)
    assert "buzaglo" in str(caught.value.hint)


def test_a_budget_may_end_before_the_first_step(rested):
    victim, recipe, *_ = rested
    attack = Haim()
    found = attack.finish(victim, recipe, attack.init(victim, recipe, 0))
    assert found.loss == float("inf")
    assert found.records.shape[0] == 8


def test_labels_follow_the_counts_and_the_factor(rested):
    victim, recipe, *_ = rested
    told = dataclasses.replace(recipe, labels=(3, 1))
    state = Haim(factor=2.0).init(victim, told, 0)
    assert torch.bincount(state.constants["labels"], minlength=2).tolist() == [6, 2]
    assert len(Haim(factor=1.5).init(victim, recipe, 0).variables["x"]) == 6
    assert len(Haim(factor=0.1).init(victim, recipe, 0).variables["x"]) == 1
    assert torch.bincount(spread(victim, told, 5, torch.Generator()), minlength=2).tolist() == [4, 1]


def test_the_scale_of_a_homogeneous_network_does_not_matter():
    """Weights c times as large have gradients c times as large: the same multipliers explain the same share."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 8, bias=False), nn.ReLU(), nn.Linear(8, 1, bias=False))
    victim = trained(network, torch.randn(4, *SHAPE), torch.arange(4) % 2, RECIPE, torch.arange(4).repeat(2, 1))
    attack, losses = Haim(iterations=3, sharpness=1e9), []
    for scale in (1.0, 7.0):
        thetaf = {name: scale * value for name, value in victim.thetaf.items()}
        found, _ = run(attack, dataclasses.replace(victim, thetaf=thetaf), RECIPE)
        losses.append(found.loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_steps_that_are_too_long_are_halved(rested):
    victim, recipe, *_ = rested
    attack = Haim(iterations=150, step_size=0.5, multiplier_step=1.0, beta=0.0)
    found, state = run(attack, victim, recipe)
    assert float(state.memory["pace"]) < 1
    assert found.loss < 0.5


def test_an_exploded_state_goes_back_to_its_best_at_rest():
    one = torch.ones(2)
    memory = {"best.x": one, "best.loss": torch.tensor(0.1), "mean.x": one, "pace": torch.tensor(0.8)}
    state = State(3, {"x": 5 * one}, {}, memory, loss=0.15)
    assert calmed(state) is state
    back = calmed(dataclasses.replace(state, loss=0.25))
    assert torch.equal(back.variables["x"], one)
    assert torch.equal(back.memory["mean.x"], 0 * one)
    assert float(back.memory["pace"]) == pytest.approx(0.4)


@pytest.mark.parametrize(
    "wrong",
    [{"iterations": 0}, {"step_size": 0.0}, {"factor": 0.0}, {"sharpness": 0.0}, {"least": -1.0}, {"momentum": 1.0},
     {"momentum": -0.1}, {"beta": -1.0}, {"multiplier_step": -1.0}, {"init_scale": 0.0}, {"tolerance": -1.0}],
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Haim(**wrong)
