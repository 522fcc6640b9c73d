"""Several searches side by side: how many, what each leaves, and which go on."""

import pytest
import torch

from memaudit.attacks.layers.coverage import cover, directions
from memaudit.attacks.layers.inputs import Layer
from memaudit.attacks.layers.searches import HALF, MORE, MOST, better, covers, filled, more, searches
from memaudit.attacks.layers.seen import Rows

HEAD = Layer("head", 0, 1, 10, 64, 1, 0)
NARROW = [Layer("deep", 0, 1, 64, 576, 64, 9), Layer("early", 0, 1, 32, 288, 256, 9), HEAD]
"""As in ResNet-20: an image fills a ninth of the roomiest layer."""
CIFAR = 3 * 32 * 32
WIDE = [Layer("deep", 0, 1, 512, 4608, 16, 9), HEAD]


def test_how_much_is_filled_is_that_of_the_roomiest_layer_that_sees_places():
    assert filled(1, NARROW) == pytest.approx(64 / 576)
    assert filled(4, NARROW) == pytest.approx(4 * 64 / 576)
    assert filled(3, [HEAD]) == pytest.approx(3 / 64), "where there is no other"


@pytest.mark.parametrize(("size", "number"), [(1, 8), (2, 8), (3, 5), (4, 4), (8, 2), (9, 1), (100, 1)])
def test_several_searches_run_where_layers_are_narrow_alone(size, number):
    assert searches(size, NARROW, CIFAR) == number
    assert number <= MOST
    assert number * size <= max(16, size)
    assert searches(size, WIDE, CIFAR) == 1
    assert searches(size, NARROW, CIFAR // 3) == (8 if size < 6 else max(48 // size, 1)), "grey ones take a third"
    assert searches(size, NARROW, 3 * 224 * 224) == 1, "as much memory as sixteen small images, no more"


@pytest.mark.parametrize("size", [1, 3, 20, 50, 120, 143, 144, 145, 300])
def test_no_more_are_sought_than_the_roomiest_layer_can_tell_apart(size):
    count = size + more(size, WIDE)
    assert size <= count <= size + size / MORE
    assert count == size or filled(count, WIDE) <= HALF
    assert more(6, WIDE) == 2
    assert more(size, NARROW) <= max(4 - size, 0)


@pytest.mark.parametrize("number", [1, 3])
def test_what_each_search_leaves_is_what_it_leaves_alone(number):
    gen = torch.Generator().manual_seed(0)
    rows = torch.randn(2 * number, 4, 30, generator=gen, requires_grad=True)
    change = torch.randn(12, 30, generator=gen)
    spans = {f"{name}.weighted": directions(change, 0.0, power, 8).weighted for name, power in (("a", 1), ("b", 3))}
    found = covers({name: Rows(rows) for name in "ab"}, spans, 2)
    assert found.shape == (number, 2)
    for index, part in enumerate(rows.chunk(number)):
        alone = torch.stack([cover(Rows(part), spans[f"{name}.weighted"]) for name in "ab"])
        torch.testing.assert_close(found[index], alone)
    (slope,) = torch.autograd.grad(found[0].sum(), rows)
    assert slope[:2].abs().min() > 0
    assert not slope[2:].any(), "the others' images play no part"


def test_a_search_may_have_more_inputs_than_there_are_records():
    rows = torch.randn(5, 4, 30, generator=torch.Generator().manual_seed(0))
    spans = {"a.weighted": directions(torch.randn(12, 30), 0.0, 1, 8).weighted}
    assert covers({"a": Rows(rows)}, spans, 3).shape == (1, 1)


def test_the_better_half_goes_on():
    left = torch.tensor([0.3, 0.1, 0.4, 0.1, 0.2])
    assert better(left, 2).tolist() == [2, 3, 6, 7, 8, 9]
    assert better(left[:2], 3).tolist() == [3, 4, 5]
    assert better(torch.full((2,), torch.nan), 1).tolist() == [0]
