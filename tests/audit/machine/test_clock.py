"""Deadlines: ordered, split, and the same moment in another process."""

import copy
import math
import multiprocessing
import pickle  # noqa: TID251  # deadlines travel to workers; no checkpoint is involved
import time

import pytest

from memaudit.audit.machine.clock import NEVER, Deadline


def test_time_runs_out():
    soon = Deadline.after(0.05)
    assert 0 < soon.left <= 0.05
    assert not soon.over
    time.sleep(0.06)
    assert (soon.left, soon.over) == (0.0, True)
    assert Deadline.after(-3).left == 0.0


@pytest.mark.parametrize("never", [NEVER, Deadline.after(None), Deadline.after(math.inf), NEVER.part(0.5)])
def test_never_does_not_come(never):
    assert never == NEVER
    assert never.left == math.inf
    assert not never.over
    assert never.earlier(1e9) == NEVER
    assert pickle.loads(pickle.dumps(never)) == NEVER


def test_the_earlier_deadline_is_the_smaller_one_whenever_it_was_set():
    first, second = Deadline(10.0, began=9.0), Deadline(20.0, began=0.0)
    assert min(second, NEVER, first) is first
    assert Deadline(10.0, began=3.0) == first


def test_a_part_counts_from_the_beginning():
    whole = Deadline(at=120.0, began=20.0)
    assert whole.part(0.15) == Deadline(35.0)
    assert whole.part(0.15).began == 20.0
    assert whole.part(1.0) == whole
    assert whole.earlier(30.0) == Deadline(90.0)


@pytest.fixture
def clocks(monkeypatch):
    """Return a function that sets both clocks, which then stand still."""

    def clocks(wall: float, steady: float) -> None:
        monkeypatch.setattr(time, "time", lambda: wall)
        monkeypatch.setattr(time, "monotonic", lambda: steady)

    return clocks


def test_a_pickled_deadline_is_a_moment_of_the_wall_clock(clocks):
    """The other process may have started at any time, and its monotonic clock with it."""
    clocks(wall=2e9, steady=7e5)
    sent = pickle.dumps(Deadline.after(100.0))
    clocks(wall=2e9, steady=3e5)
    found = pickle.loads(sent)
    assert found.left == pytest.approx(100.0)
    assert found.part(0.5).left == pytest.approx(50.0)


def test_time_on_the_way_counts(clocks):
    clocks(wall=2e9, steady=7e5)
    sent = pickle.dumps(Deadline.after(100.0))
    clocks(wall=2e9 + 60, steady=7e5 + 60)
    assert pickle.loads(sent).left == pytest.approx(40.0)


def test_a_wall_clock_that_is_set_moves_no_deadline_of_this_process(clocks):
    clocks(wall=2e9, steady=7e5)
    found = Deadline.after(100.0)
    clocks(wall=2e9 - 3600, steady=7e5)
    assert found.left == pytest.approx(100.0)
    assert copy.copy(found).left == pytest.approx(100.0)


def left(deadline):
    return deadline.left


def test_another_process_agrees():
    found = Deadline.after(1000.0)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(left, (found,))
    assert found.left - 1 <= there <= 1000 + 1, "as it was when it was asked, but for how exactly two clocks are read"
