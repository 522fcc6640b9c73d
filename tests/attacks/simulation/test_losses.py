import math

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.simulation.losses import Objective, goal_of, margins, sample_losses, signs, training_loss, viewed

from ...conftest import trained


def test_several_logits_have_cross_entropy():
    logits, labels = torch.tensor([[0.0, math.log(3.0)], [2.0, 2.0]]), torch.tensor([1, 0])
    assert training_loss(logits, labels).item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
    assert torch.equal(training_loss(logits, labels), cross_entropy(logits, labels))


def test_one_logit_has_the_logistic_loss():
    logits, labels = torch.tensor([[math.log(3.0)], [0.0], [-5.0]]), torch.tensor([1, 0, 0])
    expected = (math.log(4 / 3) + math.log(2) + math.log1p(math.exp(-5))) / 3
    assert training_loss(logits, labels).item() == pytest.approx(expected)
    torchs = binary_cross_entropy_with_logits(logits[:, 0], labels.float())
    assert torch.equal(training_loss(logits, labels), torchs)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_probabilities_mean_what_indices_mean(k):
    logits, labels = torch.randn(6, k, dtype=torch.float64), torch.randint(max(k, 2), (6,))
    choice = one_hot(labels, max(k, 2)).double().requires_grad_()
    soft = training_loss(logits, choice)
    assert soft.item() == pytest.approx(training_loss(logits, labels).item())
    (slope,) = torch.autograd.grad(soft, choice)
    assert slope.shape == choice.shape


GOALS = [Objective(), Objective(smoothing=0.1), Objective("bce"), Objective("mse")]


@pytest.mark.parametrize("goal", GOALS, ids=str)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_losses_are_those_of_torch_in_both_forms_of_labels(goal, k):
    logits, labels = torch.randn(6, k, dtype=torch.float64), torch.randint(max(k, 2), (6,))
    choice = one_hot(labels, max(k, 2)).double()
    targets = choice[:, -k:]
    smooth = targets * (1 - goal.smoothing) + goal.smoothing / 2
    torchs = {
        "cross-entropy": nn.BCEWithLogitsLoss()(logits, smooth)
        if k == 1
        else nn.CrossEntropyLoss(label_smoothing=goal.smoothing)(logits, labels),
        "bce": nn.BCEWithLogitsLoss()(logits, targets),
        "mse": nn.MSELoss()(logits, targets),
    }
    for form in (labels, choice):
        assert training_loss(logits, form, goal).item() == pytest.approx(torchs[goal.loss].item())


@pytest.mark.parametrize("goal", GOALS, ids=str)
def test_the_slope_is_what_one_label_moves_a_logits_gradient_by(goal):
    logits = torch.randn(1, 4, dtype=torch.float64).requires_grad_()
    own, other = (torch.autograd.grad(training_loss(logits, torch.tensor([c]), goal), logits)[0][0, 1] for c in (1, 2))
    assert float(other - own) == pytest.approx(goal.slope(4))


def test_a_recipe_says_what_training_minimised():
    assert goal_of(Recipe(1, 0.1, 1, 1, label_smoothing=0.1)) == Objective(smoothing=0.1)
    assert goal_of(Recipe(1, 0.1, 1, 1, loss="mse")) == Objective("mse")
    assert goal_of(Recipe(1, 0.1, 1, 1, views=4)) == Objective(views=4)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_mean_over_samples_is_the_training_loss(k):
    logits, labels = torch.randn(6, k, dtype=torch.float64), torch.randint(max(k, 2), (6,))
    each = sample_losses(logits, labels)
    assert each.shape == (6,)
    assert each.mean().item() == pytest.approx(training_loss(logits, labels).item())
    assert each[2].item() == pytest.approx(training_loss(logits[2:3], labels[2:3]).item())


def test_a_logit_and_a_difference_of_two_are_one_binary_classifier():
    logit, labels = torch.randn(7, 1, dtype=torch.float64), torch.randint(2, (7,))
    two = torch.cat([torch.zeros_like(logit), logit], 1) + torch.randn(7, 1)
    assert training_loss(two, labels).item() == pytest.approx(training_loss(logit, labels).item())
    assert torch.allclose(margins(two, labels), margins(logit, labels))


def test_margins_are_those_over_the_runner_up():
    logits = torch.tensor([[3.0, 1.0, -2.0], [0.0, 5.0, 4.0], [1.0, 2.0, 0.5]])
    assert margins(logits, torch.tensor([0, 2, 1])).tolist() == [2.0, -1.0, 1.0]
    assert margins(torch.tensor([[3.0], [3.0]]), torch.tensor([1, 0])).tolist() == [3.0, -3.0]


def test_signs_take_dtype_and_device_of_their_model():
    found = signs(torch.tensor([0, 1, 1]), torch.zeros(1, dtype=torch.float64))
    assert found.dtype == torch.float64
    assert found.tolist() == [-1.0, 1.0, 1.0]


def test_the_versions_of_a_record_stand_together_and_have_its_label():
    x, labels = torch.rand(3, 1, 8, 8), torch.tensor([2, 0, 1])
    victim = trained(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), x, labels, Recipe(3, 0.1, 3, 1), torch.arange(3)[None]
    )
    seen, said = viewed(victim, x, labels, 4)
    assert torch.equal(seen[::4], x)
    assert said.tolist() == [2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1]
    assert torch.equal(viewed(victim, x, one_hot(labels, 3), 4)[1].argmax(1), said)
    same, plain = viewed(victim, x, labels, 1)
    assert same is x
    assert plain is labels
