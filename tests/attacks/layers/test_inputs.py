"""What a layer sees: its gradient is the sum of signals times these rows, whatever the layer."""

import dataclasses

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.layers.inputs import inputs_of, middle, rows_of, trained

LAYERS = {
    "linear": (nn.Linear(6, 4), (3, 6)),
    "tokens": (nn.Linear(6, 4), (3, 5, 6)),
    "plain": (nn.Conv2d(3, 8, 3), (2, 3, 7, 6)),
    "strided": (nn.Conv2d(3, 8, 5, stride=(2, 1), padding=(2, 1)), (2, 3, 9, 8)),
    "dilated": (nn.Conv2d(3, 8, 3, dilation=2, padding=2), (2, 3, 8, 8)),
    "grouped": (nn.Conv2d(6, 8, 3, groups=2, padding=1), (2, 6, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), (2, 4, 5, 5)),
    "pointwise": (nn.Conv2d(5, 7, 1, stride=2), (2, 5, 6, 6)),
    "same": (nn.Conv2d(3, 4, 3, padding="same"), (2, 3, 5, 5)),
    "valid": (nn.Conv2d(3, 4, 3, padding="valid"), (2, 3, 5, 5)),
    "line": (nn.Conv1d(3, 4, 3, stride=2, padding=1), (2, 3, 9)),
    "line-same": (nn.Conv1d(3, 4, 3, padding="same", dilation=2), (2, 3, 9)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_is_signals_times_rows(name):
    module, shape = LAYERS[name]
    module.double()
    x = torch.randn(shape, dtype=torch.float64)
    z = module(x)
    signal = torch.randn_like(z)
    (grad,) = torch.autograd.grad((z * signal).sum(), [module.weight])
    rows, groups = rows_of(module, x), getattr(module, "groups", 1)
    n = len(x)
    if isinstance(module, nn.Linear):
        deltas = signal.reshape(n, 1, -1, z.shape[-1])
    else:
        deltas = signal.flatten(2).view(n, groups, z.shape[1] // groups, -1).transpose(2, 3)
    ours = torch.einsum("ngpu,ngpd->gud", deltas, rows).reshape(grad.shape)
    assert torch.allclose(ours, grad)


def victim(module: nn.Module, shape: tuple[int, ...], moved: tuple[str, ...] = ()) -> Victim:
    module.requires_grad_(False)
    before = {k: v.clone() for k, v in module.named_parameters() if not moved or k in moved}
    after = {k: v + 0.1 for k, v in before.items()}
    rest = {k: v for k, v in module.named_parameters() if k not in before}
    return Victim(module, before, after, rest, shape, 3, Images())


def test_trained_layers_in_the_order_in_which_they_run():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 3)
            self.other = nn.Conv2d(1, 4, 3, padding_mode="reflect", padding=1)
            self.late, self.early = nn.Conv2d(4, 8, 3, stride=2, groups=2), nn.Conv2d(4, 4, 3, padding=1)
            self.still = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.still(self.early(self.early(self.other(x)))).relu()
            return self.head(self.late(x).mean((2, 3)))

    names = ("head.weight", "other.weight", "late.weight", "early.weight")
    found = trained(victim(Net(), (1, 6, 6), names), torch.randn(2, 1, 6, 6))
    assert [(layer.path, layer.group) for layer in found] == [("early", 0), ("late", 0), ("late", 1), ("head", 0)]
    early, late, _, head = found
    assert (early.positions, early.width, early.units) == (72, 36, 4)  # used twice
    assert (late.positions, late.width, late.units, late.groups) == (4, 18, 4, 2)
    assert (head.positions, head.width, head.units, head.kernel) == (1, 8, 3, 0)
    assert head.weight == "head.weight"


def test_a_group_is_its_part_of_the_weight():
    module = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(6, 3))
    found = trained(victim(module, (4, 3, 3)), torch.randn(1, 4, 3, 3))
    weight = module[0].weight
    assert torch.equal(found[0].matrix({"0.weight": weight}), weight[:3].flatten(1))
    assert torch.equal(found[1].matrix({"0.weight": weight}), weight[3:].flatten(1))


def test_a_network_that_is_one_layer():
    subject = victim(nn.Linear(4, 3), (4,))
    (layer,) = trained(subject, torch.randn(2, 4))
    assert (layer.path, layer.weight) == ("", "weight")


def test_inputs_are_differentiable_and_no_hook_stays():
    subject = victim(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 3)), (1, 3, 3))
    x = torch.randn(2, 1, 3, 3, requires_grad=True)
    rows = inputs_of(subject, middle(subject), x, ["2"])["2"]
    assert rows.shape == (2, 1, 1, 2)
    assert torch.autograd.grad(rows.sum(), [x])[0].abs().sum() > 0
    assert not any(part._forward_pre_hooks for part in subject.module.modules())


def test_a_layer_on_something_that_all_inputs_share_is_left_out():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places, self.head = nn.Linear(2, 4), nn.Linear(4, 3)
            self.register_buffer("table", torch.randn(3, 2))

        def forward(self, x):
            return self.head((x[:, None] + self.places(self.table)).mean(1))

    net = Net()
    subject = victim(net, (4,))
    subject = dataclasses.replace(subject, buffers={"table": net.table})
    assert [layer.path for layer in trained(subject, torch.randn(2, 4))] == ["head"]


def test_the_middle_is_half_way():
    subject = victim(nn.Linear(4, 3), (4,))
    assert torch.allclose(middle(subject)["weight"], subject.theta0["weight"] + 0.05)
