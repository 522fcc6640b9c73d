"""Products with rows that are never written down are those with the rows that are."""

import pytest
import torch
from torch import Tensor, nn

from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.medium import Images
from memaudit.attacks.layers import coverage
from memaudit.attacks.layers.inputs import Geometry, inputs_of, rows_of
from memaudit.attacks.layers.seen import Patches, Rows, seen_of

CONVOLUTIONS = {
    "plain": nn.Conv2d(3, 8, 3),
    "padded": nn.Conv2d(3, 8, 3, padding=1),
    "wide-padding": nn.Conv2d(3, 8, 3, padding=3),
    "strided": nn.Conv2d(3, 8, 5, stride=(2, 1), padding=(2, 1)),
    "dilated": nn.Conv2d(3, 8, 3, dilation=2, padding=2),
    "oblong": nn.Conv2d(3, 8, (1, 3), padding=(0, 1)),
    "even": nn.Conv2d(3, 8, 2, padding=1),
    "pointwise": nn.Conv2d(3, 8, 1),
    "same": nn.Conv2d(3, 8, 3, padding="same"),
}


@pytest.fixture(params=CONVOLUTIONS)
def pair(request) -> tuple[Patches, Rows]:
    """What a convolution sees of two images, both ways, with gradients."""
    module = CONVOLUTIONS[request.param]
    given = torch.randn(2, 3, 7, 6, dtype=torch.float64, requires_grad=True)
    return Patches(given, Geometry.of(module)), Rows(rows_of(module, given)[:, 0])


def test_products_are_those_of_the_rows_as_written(pair):
    patches, rows = pair
    assert (patches.count, patches.positions) == (rows.count, rows.positions)
    assert torch.equal(patches.written(), rows.source)
    width = rows.source.shape[2]
    directions, signals = (torch.randn(shape, dtype=torch.float64) for shape in ((4, width), (rows.count, 4)))
    assert torch.allclose(patches.times(directions), rows.times(directions))
    assert torch.allclose(patches.combined(signals), rows.combined(signals))
    assert torch.allclose(patches.lengths(), rows.lengths())
    assert torch.allclose(patches.gram(), rows.gram())
    assert torch.allclose(rows.gram(), rows.source.flatten(0, 1) @ rows.source.flatten(0, 1).T)
    (expected,) = torch.autograd.grad((rows.source.flatten(0, 1) * (signals @ directions)).sum(), [patches.source])
    assert torch.allclose(patches.slope(signals, directions), expected)
    assert torch.allclose(rows.slope(signals, directions).flatten(0, 1), signals @ directions)


def test_the_cover_and_what_lies_outside_have_the_same_gradients(pair):
    weighted = torch.randn(4, pair[1].source.shape[2], dtype=torch.float64) / 10
    kept = torch.linalg.qr(weighted.T).Q.T

    def both(seen: Patches | Rows) -> tuple[Tensor, Tensor]:
        value = coverage.cover(seen, weighted) + coverage.outside(seen, kept).sum()
        return value, torch.autograd.grad(value, [pair[0].source], retain_graph=True)[0]

    (ours, slope), (written, expected) = both(pair[0]), both(pair[1])
    assert float(ours.detach()) == pytest.approx(float(written.detach()))
    assert torch.allclose(slope, expected)
    assert float(slope.norm()) > 0
    assert torch.allclose(coverage.shares(pair[0], weighted), coverage.shares(pair[1], weighted))


class Net(nn.Module):
    """Layers of every kind: in groups, used twice, linear, on a line, and one whose input is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.grouped, self.line, self.head = nn.Conv2d(4, 6, 3, groups=2), nn.Conv1d(6, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = self.twice(self.twice(x)) + x.relu_()
        return self.head(self.line(self.grouped(x).flatten(2)).mean(2))


def test_a_network_shows_the_same_rows_either_way():
    torch.manual_seed(0)
    module = Net().requires_grad_(False)
    params = dict(module.named_parameters())
    victim = Victim(module, params, {k: v + 0.1 for k, v in params.items()}, {}, (2, 6, 6), 3, Images())
    x = torch.randn(3, 2, 6, 6)
    places = [("head", 0), ("line", 0), ("grouped", 1), ("twice", 0), ("first", 0)]
    found = seen_of(victim, params, x, places)
    written = inputs_of(victim, params, x, [path for path, _ in places])
    assert list(found) == [("first", 0), ("twice", 0), ("grouped", 1), ("line", 0), ("head", 0)]
    assert [type(seen) for seen in found.values()] == [Patches, Rows, Patches, Patches, Rows]
    for (path, group), seen in found.items():
        assert torch.equal(seen.written(), written[path][:, group])
    before = module.first(x)
    assert torch.equal(found["twice", 0].written()[:, :36], before.flatten(2).transpose(1, 2))  # not as relu_ left it
