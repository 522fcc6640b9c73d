"""Which layers tell records apart, by their counts and by what wrong records leave."""

import dataclasses

import pytest
import torch
from torch import nn

from memaudit.attacks.layers.telling import candidates, likely, telling

from .test_inputs import victim

SHAPE = (3, 16, 16)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(96, 128), nn.Linear(128, 3)

    def forward(self, x):
        return self.second(self.first(x.flatten(2).transpose(1, 2).reshape(len(x), 8, 96)).relu().mean(1))


def deep() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 64, 3, stride=4, padding=1), nn.ReLU(),
        nn.Conv2d(64, 96, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(384, 3),
    )  # fmt: skip


def subject(module: nn.Module):
    found = victim(module, SHAPE)
    moved = {name: value + 0.01 * torch.randn_like(value) for name, value in found.theta0.items()}
    return dataclasses.replace(found, thetaf=moved)


def test_candidates_are_convolutions_that_one_record_does_not_fill():
    assert [layer.path for layer in candidates(subject(deep()), 1)] == ["2", "4"]
    assert [layer.path for layer in candidates(subject(deep()), 30)] == ["4"]
    assert candidates(subject(Tokens()), 1) == []


@pytest.mark.parametrize(("count", "paths"), [(1, ["2", "4", "7"]), (4, ["2", "4"]), (20, ["4"]), (200, [])])
def test_layers_drop_out_as_records_fill_them(count, paths):
    found = subject(deep())
    assert [layer.path for layer, _ in telling(found, found.delta, count, 1.0, 1.0)] == paths


def test_spans_are_bounded_while_records_fill_a_part_of_the_outputs():
    found = subject(deep())
    spans = {layer.path: span for layer, span in telling(found, found.delta, 2, 1.0, 1.0)}
    assert spans["2"].bounded
    assert len(spans["2"].kept) == 32
    assert spans["4"].bounded
    wide = {layer.path: span for layer, span in telling(found, found.delta, 4, 1.0, 1.0)}
    assert not wide["2"].bounded


def test_one_record_may_have_as_many_rows_as_there_are_outputs():
    found = subject(deep())
    for count, bounded in ((1, True), (2, False)):
        spans = {layer.path: span for layer, span in telling(found, found.delta, count, 1.0, 4.0)}
        assert spans["2"].bounded == bounded


def test_a_change_that_wrong_records_cover_tells_nothing():
    found = subject(deep())
    with torch.no_grad():
        seen = found.module[:4](likely(found, 4))  # the change that these would leave, in place of the real one
    patches = torch.nn.functional.unfold(seen, 3, padding=1, stride=2).transpose(1, 2).flatten(0, 1)
    fitting = found.delta | {"4.weight": (torch.randn(96, len(patches)) @ patches).view(96, 64, 3, 3)}
    still = dataclasses.replace(found, thetaf=found.theta0)
    assert [layer.path for layer, _ in telling(still, fitting, 4, 1.0, 1.0)] == ["2"]


def test_wrong_records_are_alike_for_every_call_and_smooth():
    found = subject(deep())
    a, b = likely(found, 3), likely(found, 3)
    assert torch.equal(a, b)
    assert float(a.std()) == pytest.approx(1, abs=0.01)
    assert float(a.diff(dim=-1).abs().mean()) < float(torch.randn(3, *SHAPE).diff(dim=-1).abs().mean())
    assert likely(dataclasses.replace(found, shape=(7,)), 3).shape == (3, 7)
