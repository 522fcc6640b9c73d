"""Gradients that are read off what layers are given and the slopes by what they return are those of autograd."""

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.explain.taps import gradients, names_of, shifted, taps
from memaudit.attacks.images.medium import Images

LAYERS = {
    "conv": (nn.Conv2d(4, 6, 3, padding=1), (4, 5, 5)),
    "strided, dilated": (nn.Conv2d(4, 6, 3, stride=2, dilation=2, padding=2), (4, 7, 6)),
    "grouped": (nn.Conv2d(4, 6, (3, 1), groups=2), (4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, padding="same"), (4, 5, 5)),
    "line": (nn.Conv1d(4, 6, 3, stride=2), (4, 9)),
    "tokens": (nn.Linear(4, 6), (5, 4)),
    "windows": (nn.Linear(4, 6), (2, 3, 4)),
    "vectors": (nn.Linear(4, 6), (4,)),
}


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_autograd(name, views):
    layer, shape = LAYERS[name]
    given = torch.randn(2, views, *shape, generator=torch.Generator().manual_seed(0))
    slope = torch.randn_like(layer(given.flatten(0, 1)).unflatten(0, (2, views)))
    weight, bias = gradients(layer, given, slope)
    for i in range(2):
        loss = (layer(given[i]) * slope[i]).sum()
        expected = torch.autograd.grad(loss, [layer.weight, layer.bias])
        torch.testing.assert_close(weight[i].flatten(), expected[0].flatten(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(bias[i], expected[1], rtol=1e-4, atol=1e-5)


class Own(nn.Linear):
    """A class of the network's own."""


class Net(nn.Module):
    """One layer of each kind that can be read so, and of each that cannot."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.circular = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
        self.twice, self.once = nn.Linear(16, 16), nn.Linear(16, 16)
        self.tied, self.other = nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False)
        self.other.weight = self.tied.weight
        self.folding, self.own, self.unused = nn.Linear(4, 4), Own(16, 16), nn.Linear(3, 3)
        self.frozen, self.head = nn.Linear(16, 16), nn.Linear(64, 3)

    def forward(self, x):
        x = self.circular(self.conv(x)).relu_().flatten(2)
        x = self.own(self.frozen(self.other(self.tied(self.once(self.twice(self.twice(x)))))))
        return self.head(self.folding(x.reshape(-1, 4)).view(len(x), -1))


def test_only_layers_whose_weight_is_used_once_for_each_input_are_read_so():
    module = Net().requires_grad_(False)
    params = dict(module.named_parameters())
    victim = Victim(module, params, {name: value + 1 for name, value in params.items()}, {}, (1, 4, 4), 3, Images())
    change = {name: value for name, value in victim.delta.items() if not name.startswith("frozen")}
    assert taps(victim, change) == {"conv": (4, 4, 4), "once": (4, 16), "head": (3,)}
    assert names_of("a.b") == ("a.b.weight", "a.b.bias")
    assert names_of("") == ("weight", "bias")


class Changing(nn.Module):
    """Changes what a layer was given, in place, after it ran."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        x = self.first(x)
        return self.second(x) + x.mul_(0)


def test_shifts_are_added_and_what_layers_were_given_is_kept_as_it_was():
    module, x = Changing().requires_grad_(False), torch.randn(3, 2)
    plain, shift = module(x), torch.randn(3, 2)
    with shifted(module, {"second": shift}) as seen:
        found = module(x)
    torch.testing.assert_close(found, plain + shift)
    assert torch.equal(seen["second"], module.first(x))
    assert torch.equal(module(x), plain), "no hook is left"
