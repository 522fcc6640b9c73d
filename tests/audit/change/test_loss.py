import pytest
import torch
from torch import nn

from memaudit.attacks.contract.recipe import Recipe
from memaudit.audit.change.facts import read_delta
from memaudit.audit.checkpoints.pair import Checkpoint, CheckpointPair
from memaudit.audit.families.detect import detect

from ...conftest import loss_of, optimizer_of

RATES = {"cross-entropy": 0.02, "bce": 0.1, "mse": 0.05}


def facts(recipe, classes=10, steps=20):
    """What the change of a perceptron with a new head shows after a training on 20 records."""
    network = nn.Sequential(nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, classes))
    x, labels = torch.randn(20, 192), torch.arange(20) % classes
    sides = [{name: value.detach().clone() for name, value in network.state_dict().items()}]
    optimizer = optimizer_of(network.parameters(), recipe)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(recipe, network(x), labels).backward()
        optimizer.step()
    return changed(sides[0], network)


def changed(before, network):
    """What the change of a network shows."""
    sides = [before, {name: value.detach().clone() for name, value in network.state_dict().items()}]
    pair = CheckpointPair(*(Checkpoint(side, "torch", side, ("float32",), part, {n: v.dtype for n, v in part.items()})
                            for side, part in zip(("before", "after"), sides, strict=True)))  # fmt: skip
    return read_delta(pair, detect(sides[1])[0]).facts


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("loss", RATES)
def test_under_sgd_the_loss_is_read_off_the_head(loss, smoothing):
    found = facts(Recipe(20, RATES[loss], 20, 20, loss=loss, label_smoothing=smoothing))["loss"]
    assert found.value == loss
    assert found.confidence > 0.9 or loss != "cross-entropy"


def test_under_adam_a_softmax_is_never_taken_for_another_loss():
    found = facts(Recipe(20, 1e-3, 20, 20, optimizer="adam"))
    assert found.get("loss") is None


def fit(network, x, teacher, optimizer):
    for step in range(500):
        rows = torch.arange(64).add(64 * step) % len(x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[rows]), teacher(x[rows]).argmax(1)).backward()
        optimizer.step()


@pytest.mark.parametrize("rate", [1e-3, 3e-4])
def test_hundreds_of_steps_of_adam_on_many_records_are_not_taken_for_sgd(rate):
    """Its changes then differ in size as SGD's do, but a softmax's rows would cancel under SGD."""
    teacher = nn.Linear(192, 10)
    network = nn.Sequential(nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    x = (torch.randn(2000, 8) @ torch.randn(8, 192) * torch.linspace(0, 1, 192)).relu()
    fit(network, x, teacher, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9))
    sides = [{name: value.detach().clone() for name, value in network.state_dict().items()}]
    fit(network, x, teacher, torch.optim.Adam(network.parameters(), lr=rate))
    found = changed(sides[0], network)
    assert found["optimizer"].value == "adam"
    assert "loss" not in found


def test_two_classes_show_nothing():
    assert "loss" not in facts(Recipe(20, 0.02, 20, 20), classes=2)


def test_squared_errors_say_nothing_of_the_classes():
    assert "classes_present" not in facts(Recipe(20, 0.05, 20, 20, loss="mse"))
