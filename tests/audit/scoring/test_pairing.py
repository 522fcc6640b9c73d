from itertools import permutations

import numpy as np
import pytest

from memaudit.audit.scoring.pairing import Method, assign

METHODS: tuple[Method, ...] = ("hungarian", "greedy")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (6, 3), (1, 5), (5, 1), (1, 1), (0, 3), (3, 0)])
def test_assignments_are_one_to_one(method: Method, shape: tuple[int, int]) -> None:
    scores = np.random.default_rng(0).normal(size=shape)
    pairs = assign(scores, method)
    assert len(pairs) == min(shape)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == min(shape)
    assert all(0 <= row < shape[0] and 0 <= column < shape[1] for row, column in pairs)


def total(scores: np.ndarray, method: Method) -> float:
    return float(sum(scores[pair] for pair in assign(scores, method)))


@pytest.mark.parametrize("seed", range(30))
def test_greedy_never_beats_hungarian(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=generator.integers(1, 12, 2))
    assert total(scores, "greedy") <= total(scores, "hungarian") + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_hungarian_is_the_best_of_all_permutations(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(5, 5))
    best = max(sum(scores[row, column] for row, column in enumerate(order)) for order in permutations(range(5)))
    assert total(scores, "hungarian") == pytest.approx(best)


def test_greedy_takes_the_best_pair_first() -> None:
    scores = np.array([[0.9, 0.8], [0.7, 0.0]])
    assert assign(scores, "greedy") == [(0, 0), (1, 1)]
    assert sorted(assign(scores, "hungarian")) == [(0, 1), (1, 0)]


def test_greedy_as_the_authors_compute_it() -> None:
    scores = np.random.default_rng(0).normal(size=(7, 9))
    left, wanted = scores.copy(), []
    for _ in range(7):
        row, column = np.unravel_index(left.argmax(), left.shape)
        wanted.append((int(row), int(column)))
        left[row], left[:, column] = -np.inf, -np.inf
    assert assign(scores, "greedy") == wanted
