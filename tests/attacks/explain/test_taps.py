"""Gradients that are read off what layers are given and the slopes by what they return are those of autograd."""

import pytest
import torch
from torch import nn

from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.explain.taps import PROBES, gradients, names_of, shifted, taps
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
        self.bias, self.same = nn.Linear(16, 16), nn.Linear(16, 16)
        self.same.bias = self.bias.bias
        self.plain = nn.Linear(16, 16)
        self.normed = nn.utils.weight_norm(nn.Linear(16, 16))
        self.folding, self.own, self.unused = nn.Linear(4, 4), Own(16, 16), nn.Linear(3, 3)
        self.table, self.first = nn.Linear(4, 4), nn.Linear(4, 4)
        self.changed, self.kept = nn.Linear(16, 16), nn.Linear(16, 16)
        self.changed.register_forward_hook(lambda module, fed, out: out.tanh())
        self.frozen, self.head = nn.Linear(16, 16), nn.Linear(64, 3)
        self.kept.register_forward_hook(self.keep)

    def keep(self, module, fed, out):
        self.out = out

    def forward(self, x):
        x = self.circular(self.conv(x)).relu_().flatten(2)
        x = self.own(self.frozen(self.other(self.tied(self.once(self.twice(self.twice(x)))))))
        x = self.same(self.bias(self.normed(x))).tanh()
        x = nn.functional.linear(self.plain(x), self.plain.weight)
        self.kept(self.changed(x))
        x = self.first(self.out.transpose(0, 1).reshape(4, -1, 4)).reshape(4, -1, 16).transpose(0, 1)
        return self.head(self.folding(x.reshape(-1, 4)).view(len(x), -1)) + self.table(x.new_ones(5, 4)).sum()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_only_layers_whose_gradients_are_right_are_read_so():
    torch.manual_seed(0)
    module = Net().requires_grad_(False)
    params = dict(module.named_parameters())
    victim = Victim(
        module, params, {k: v + 0.1 * torch.randn_like(v) for k, v in params.items()}, {}, (1, 4, 4), 3, Images()
    )
    change = {name: value for name, value in victim.delta.items() if not name.startswith("frozen")}
    assert taps(victim, change) == {
        "conv": (4, 4, 4), "once": (4, 16), "same": (4, 16), "changed": (4, 16), "kept": (4, 16), "head": (3,)
    }  # fmt: skip
    assert names_of("a.b") == ("a.b.weight", "a.b.bias")
    assert names_of("") == ("weight", "bias")


def test_as_many_tokens_as_made_up_inputs_are_not_taken_for_inputs():
    class First(nn.Module):
        """A layer that runs with positions first."""

        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(4, 4), nn.Linear(4 * PROBES, 2)

        def forward(self, x):
            return self.head(self.layer(x.transpose(0, 1)).transpose(0, 1).flatten(1))

    module = First().requires_grad_(False)
    params = dict(module.named_parameters())
    victim = Victim(module, params, {k: v + 1 for k, v in params.items()}, {}, (PROBES, 4), 2, Images())
    assert list(taps(victim, victim.delta)) == ["head"]


def test_of_a_network_without_gradients_nothing_is_read_so():
    class Rounded(nn.Sequential):
        def forward(self, x):
            return super().forward(x).detach()

    module = Rounded(nn.Linear(4, 3)).requires_grad_(False)
    params = dict(module.named_parameters())
    victim = Victim(module, params, {k: v + 1 for k, v in params.items()}, {}, (4,), 3, Images())
    assert taps(victim, victim.delta) == {}


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
