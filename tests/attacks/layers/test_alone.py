"""Least squares on made-up signals: patches, decay, noise, and what is left over."""

import pytest
import torch

from memaudit.attacks.layers.alone import Change, patches_of, smoothed, undone

UNITS, POSITIONS, WIDTH = 40, 9, 60


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SIGNALS, PATCHES = 1e-3 * drawn(POSITIONS, UNITS, seed=1), drawn(POSITIONS, WIDTH, seed=2)
BEFORE = drawn(UNITS, WIDTH, seed=3), drawn(POSITIONS, UNITS, seed=4)


def after(factor, table_factor):
    return factor * BEFORE[0] + SIGNALS.T @ PATCHES, table_factor * BEFORE[1] + SIGNALS


@pytest.mark.parametrize(
    ("factor", "kept"), [(1.0, False), (1 - 3e-5, False), (0.97, False), (0.97, True), (0.6, True)]
)
def test_decay_is_found_by_what_is_left_over(factor, kept):
    weight, table = after(factor, 1.0 if kept else factor)
    found = undone((BEFORE[0], weight), (BEFORE[1], table))
    assert found.kept == kept
    assert found.factor == pytest.approx(factor, abs=1e-6)
    assert found.left < 1e-3
    assert torch.allclose(patches_of(found, 1e-9, 1.0).patches, PATCHES, atol=1e-2)


def test_what_is_left_is_one_for_a_change_that_has_nothing_to_do_with_the_table():
    assert Change(drawn(UNITS, WIDTH, seed=5), SIGNALS).left == pytest.approx(1.0, abs=0.1)
    assert Change(torch.zeros(UNITS, WIDTH, dtype=torch.float64), SIGNALS).left == 1.0


def test_too_few_units_tell_nothing_and_decay_is_what_is_known():
    weight, table = after(0.97, 0.97)
    found = undone((BEFORE[0][:12], weight[:12]), (BEFORE[1][:, :12], table[:, :12]), 0.97)
    assert (found.left, found.factor) == (1.0, 0.97)


@pytest.mark.parametrize("level", [1e-7, 1e-5])
def test_the_error_is_what_noise_makes_of_it(level):
    noisy = SIGNALS.T @ PATCHES + level * drawn(UNITS, WIDTH, seed=6)
    found = patches_of(Change(noisy, SIGNALS), 0.0, 1.0)
    assert not found.free.shape[1]
    assert found.error == pytest.approx(float((found.patches - PATCHES).square().mean().sqrt()), rel=0.1)


def test_what_noise_hides_is_free_and_made_smooth():
    quiet = SIGNALS.clone()
    quiet[0] = 1e-9 * SIGNALS[0]
    noisy = quiet.T @ PATCHES + 1e-7 * drawn(UNITS, WIDTH, seed=6)
    found = patches_of(Change(noisy, quiet), 0.0, 1.0)
    assert found.free.shape == (POSITIONS, 1)
    assert abs(float(found.free[0, 0])) == pytest.approx(1.0, abs=1e-3)
    whole = smoothed(found, lambda rows: (rows[0] - rows[1]).square().sum())
    assert torch.allclose(whole[0], PATCHES[1], atol=0.05)
    assert torch.allclose(whole[1:], PATCHES[1:], atol=0.05)


def test_units_fewer_than_places_give_the_patches_of_least_length():
    change = Change((SIGNALS.T @ PATCHES)[:5], SIGNALS[:, :5])
    found = patches_of(change, 1e-12, 1.0)
    assert found.free.shape == (POSITIONS, 4)
    assert torch.allclose(found.patches, torch.linalg.pinv(change.table.T) @ change.weight, atol=1e-6)
