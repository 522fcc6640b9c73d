import dataclasses

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.params import cosine_distance, norm, subtract
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.explain import inversion
from memaudit.attacks.optimise.optim import Adam
from memaudit.attacks.simulation.adjoints import FullGraph
from memaudit.attacks.simulation.dynamics import simulate

from ...conftest import Residual, conv, mlp, trained


def one_step(network, shape, labels, **options):
    n = len(labels)
    recipe = Recipe(size=n, lr=0.1, batch_size=n, epochs=1, **options)
    x, labels = torch.randn(n, *shape, dtype=torch.float64), torch.tensor(labels)
    return trained(network, x, labels, recipe, torch.arange(n)[None]), recipe, x, labels


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9, "nesterov": True},
        {"weight_decay": 0.1},
        {"clip": 0.01},
        {"schedule": "linear", "warmup": 3},
    ],
    ids=["plain", "momentum", "decay", "clip", "warmup"],
)
def test_of_one_step_the_true_images_explain_everything(options):
    victim, recipe, x, labels = one_step(conv(), (1, 6, 6), [0, 1, 2, 0], **options)
    change, seen = inversion.predict(victim, recipe, x, labels)
    assert change.keys() == victim.delta.keys()
    assert float(norm(subtract(change, victim.delta))) < 1e-9 * float(norm(victim.delta))
    assert not seen
    assert inversion.terms(change, victim.delta) == pytest.approx({"cosine": 0, "change_ratio": 1}, abs=1e-9)


def test_of_one_step_with_batch_norm_in_train_mode_too():
    victim, recipe, x, labels = one_step(Residual(), (1, 6, 6), [0, 1, 2, 0], batch_norm="train")
    change, seen = inversion.predict(victim, recipe, x, labels)
    assert float(norm(subtract(change, victim.delta))) < 1e-9 * float(norm(victim.delta))
    assert seen.keys() == {"bn1", "bn2"}


def test_of_several_small_steps_they_explain_nearly_everything():
    distances = []
    for lr in (0.01, 0.0025):
        torch.manual_seed(0)
        recipe = Recipe(4, lr, 2, 3, weight_decay=0.01)
        x, labels = torch.randn(4, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
        victim = trained(conv(), x, labels, recipe, torch.arange(4).view(2, 2).repeat(3, 1))
        change, _ = inversion.predict(victim, recipe, x, labels)
        distances.append(float(cosine_distance(change, victim.delta)))
        assert float(norm(change) / norm(victim.delta)) == pytest.approx(1, abs=0.1)
    assert distances[1] < 0.3 * distances[0] < 0.3 * 0.02


def test_masked_tensors_are_not_compared():
    victim, recipe, x, labels = one_step(mlp(), (3, 2, 2), [0, 1, 2])
    masked = dataclasses.replace(victim, masked=frozenset({"1.weight"}))
    assert inversion.predict(masked, recipe, x, labels)[0].keys() == victim.delta.keys() - {"1.weight"}


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_what_is_no_gradient_is_refused(tiny, optimizer):
    victim, recipe, *_ = tiny
    with pytest.raises(Unsupported, match="is not a gradient"):
        inversion.check(victim, dataclasses.replace(recipe, optimizer=optimizer))
    with pytest.raises(Unsupported, match="rounding"):
        inversion.check(dataclasses.replace(victim, thetaf=victim.theta0), recipe)
    with pytest.raises(Unsupported, match="rounding"):
        inversion.check(dataclasses.replace(victim, masked=frozenset(victim.theta0)), recipe)


def test_a_batch_that_batch_norm_cannot_take_is_refused():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    victim, recipe, x, labels = one_step(network, (3, 2, 2), [0, 1], batch_norm="train")
    with pytest.raises(Unsupported, match="cannot take a batch of 1"):
        inversion.predict(victim, recipe, x[:1], labels[:1])


def headed(activation, bias, k=4):
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), activation, nn.Linear(16, k, bias=bias))
    nn.init.normal_(network[-1].weight)
    return network


@pytest.mark.parametrize("label", range(4))
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Hardtanh(-1, 0)], ids=["positive", "negative"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_label_of_one_image_is_exact(label, activation, bias):
    victim, recipe, *_ = one_step(headed(activation, bias), (3, 2, 2), [label], weight_decay=0.1)
    assert inversion.only_label(victim, recipe) == label


@pytest.mark.parametrize("label", [0, 1])
def test_the_label_of_one_image_is_exact_for_two_logits_and_for_one(label):
    for k in (1, 2):
        victim, recipe, *_ = one_step(mlp(k=k), (3, 2, 2), [label])
        assert inversion.only_label(victim, recipe) == label


def test_without_a_head_there_is_no_label():
    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(12, 3))

        def forward(self, x):
            return x.flatten(1) @ self.weight

    victim, recipe, *_ = one_step(Summed(), (3, 2, 2), [1])
    with pytest.raises(Unsupported, match="no layer with one row per class"):
        inversion.only_label(victim, recipe)
    assert inversion.distinct_labels(victim, recipe) is None


def test_distinct_labels_are_told_from_repeated_ones():
    network = headed(nn.ReLU(), True, 6)
    victim, recipe, *_ = one_step(network, (3, 2, 2), [5, 0, 3])
    assert inversion.distinct_labels(victim, recipe).tolist() == [0, 3, 5]
    victim, recipe, *_ = one_step(network, (3, 2, 2), [5, 5, 3])
    assert inversion.distinct_labels(victim, recipe) is None


def test_labels_of_more_samples_than_classes_are_counted():
    victim, recipe, x, _ = one_step(mlp(), (3, 2, 2), [1, 1, 1, 1, 0, 2, 1])
    labels = inversion.labels_of(victim, recipe, torch.randn_like(x), torch.Generator().manual_seed(0))
    assert torch.bincount(labels, minlength=3).tolist() == [1, 5, 1]
    told = dataclasses.replace(recipe, labels=(3, 2, 2))
    labels = inversion.labels_of(victim, told, x, torch.Generator().manual_seed(0))
    assert torch.bincount(labels, minlength=3).tolist() == [3, 2, 2]


def test_influence_is_the_norm_of_each_gradient():
    victim, recipe, x, labels = one_step(mlp(), (3, 2, 2), [0, 1])
    found = inversion.finish(victim, recipe, inversion.start(victim, recipe, {"x": x}, x, labels, Adam(0.1)), labels)
    alone = [inversion.predict(victim, recipe, x[i : i + 1], labels[i : i + 1])[0] for i in range(2)]
    expected = torch.stack([norm(change) / recipe.lr for change in alone])
    assert torch.allclose(found.influence, expected)
    assert found.loss == float("inf")


def test_predict_is_a_simulated_step():
    victim, recipe, x, labels = one_step(conv(), (1, 6, 6), [0, 1, 2])
    final = simulate(victim, recipe, x, labels, torch.arange(3)[None], adjoint=FullGraph())
    change, _ = inversion.predict(victim, recipe, x, labels)
    assert float(norm(subtract(change, victim.change(final)))) < 1e-12
