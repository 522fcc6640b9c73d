"""Which candidate recipe explains the change best."""

import dataclasses
import math

import pytest

from memaudit.attacks.contract.recipe import Recipe
from memaudit.audit.scan.candidates import MARGIN, STRIDE, Axes, Candidate, best, edges, interval, preferred, promoted

UNKNOWN = Recipe(size=4, lr=math.nan, batch_size=4, epochs=20)
BOTH = Axes(("sgd", "adam"), ((4, 20), (2, 20)))


def candidate(recipe, rung=0, loss=0.1):
    return Candidate(recipe, rung, 0, loss, 0.01, 1.0, 1, "stalled")


def of(optimizer, batch_size, loss):
    return candidate(dataclasses.replace(UNKNOWN, lr=0.1, optimizer=optimizer, batch_size=batch_size), loss=loss)


def test_the_lowest_loss_is_best_and_what_did_not_complete_never_is():
    first, second = of("sgd", 4, 0.2), of("sgd", 4, 0.1)
    assert best([None, first, second]) is second
    assert best([None, of("sgd", 4, math.inf)]) is None
    assert best([]) is None


def test_each_optimiser_is_promoted_and_another_batch_size_that_beats_both():
    heads = [of("sgd", 4, 0.3), of("adam", 4, 0.2)]
    close, better = of("sgd", 2, 0.2 * MARGIN), of("sgd", 2, 0.19 * MARGIN)
    assert promoted([*heads, of("sgd", 4, 0.4), close], BOTH) == heads
    assert promoted([*heads, better], BOTH) == [*heads, better]
    assert promoted([better], BOTH) == [better]


def test_the_first_batch_size_is_preferred_where_another_is_hardly_better():
    first, close, better = of("sgd", 4, 0.2), of("sgd", 2, 0.2 * 0.95), of("sgd", 2, 0.2 * 0.5)
    assert preferred([first, close], BOTH) is first
    assert preferred([first, better], BOTH) is better
    other = of("adam", 2, 0.2 * 0.95)
    assert preferred([first, other], BOTH) is other, "that is for one optimiser"


def test_edges_and_interval():
    def at(travel, rung):
        return candidate(dataclasses.replace(UNKNOWN, lr=travel / 20), rung)

    tried = [at(0.1, 0), at(1.0, 0), at(0.5, 1), at(0.4, 2)]
    assert edges(tried[-1], tried) == (False, False)
    assert edges(at(1.2, 2), tried) == edges(tried[1], tried) == (False, True)
    assert edges(at(0.09, 2), tried) == edges(tried[0], tried) == (True, False)
    broken = dataclasses.replace(at(3.0, 0), loss=math.inf)
    assert edges(tried[1], [*tried, broken]) == (False, True), "what broke shows nothing"
    assert edges(tried[0], tried[:1]) == (True, True)

    def around(chosen):
        return [end * 20 for end in interval(chosen, tried)]

    assert around(tried[-1]) == pytest.approx([0.4 / 1.25, 0.4 * 1.25])
    assert around(at(0.2, 2)) == pytest.approx([0.2 / 2.5, 0.2 * 2.5])
    assert around(at(0.3, 0)) == pytest.approx([0.3 / STRIDE, 0.3 * STRIDE]), "up to its neighbours"
    assert around(tried[1]) == pytest.approx([1.0 / STRIDE, 10 * STRIDE]), "wide where nothing larger was tried"
