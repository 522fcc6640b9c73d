import torch
from torch import nn

from memaudit.attacks.contract.attack import generator
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.explain.records import Explained, learned
from memaudit.attacks.images.medium import Images
from memaudit.attacks.images.normalisation import Normalisation


def one_step(classes):
    """A network and what one step of SGD on five inputs, with weight decay, made of it."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 30), nn.Tanh(), nn.Linear(30, classes))
    start = {name: value.detach().clone() for name, value in network.named_parameters()}
    x, y = torch.randn(5, 3, 4, 4, generator=generator(1)), torch.tensor([0, 1, 1, 0, 1])
    out = network(x)
    loss = (
        nn.functional.cross_entropy(out, y)
        if classes > 1
        else nn.functional.binary_cross_entropy_with_logits(out[:, 0], y.float())
    )
    loss.backward()
    end = {name: (1 - 0.01) * value - 0.1 * value.grad for name, value in network.named_parameters()}
    end = {name: value.detach() for name, value in end.items()}
    medium = Images(Normalisation((0.5,), (0.25,)))
    return Victim(network, start, end, {}, (3, 4, 4), classes, medium), x, y


def test_the_labels_are_what_training_taught():
    for classes in (1, 3):
        victim, x, y = one_step(classes)
        assert torch.equal(learned(victim, x), y)


def test_gradients_of_the_right_inputs_explain_all_of_one_step():
    for classes in (1, 3):
        victim, x, _ = one_step(classes)
        explained = Explained(victim, victim.delta)
        assert explained.unexplained(explained.columns(x)) < 1e-4
        others = torch.randn(5, 3, 4, 4, generator=generator(2))
        assert explained.unexplained(explained.columns(others)) > 0.2
        assert explained.unexplained(explained.columns(x[:4])) > 0.01


def test_a_parameter_without_a_gradient_is_no_obstacle():
    victim, x, _ = one_step(3)
    idle = torch.ones(2)
    victim.module.register_parameter("idle", nn.Parameter(idle))
    whole = Victim(
        victim.module, {**victim.theta0, "idle": idle}, {**victim.thetaf, "idle": idle + 0.1}, {}, victim.shape, 3,
        victim.medium,
    )  # fmt: skip
    explained = Explained(whole, whole.delta)
    assert 0.05 < explained.unexplained(explained.columns(x)) < 0.5
