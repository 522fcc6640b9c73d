"""The time of a search, over all sessions of a scan."""

import math
from contextlib import suppress

import pytest

from memaudit.audit.machine.clock import NEVER
from memaudit.audit.run.store import Store
from memaudit.audit.scan import patience
from memaudit.audit.scan.patience import Patience


@pytest.fixture
def clock(monkeypatch):
    """A clock that only tests move."""
    now = [100.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def job(tmp_path):
    return Store(tmp_path).job("search")


def searched(job, clock, allowed, seconds):
    """Search for some seconds, as long as there is time; return how much there was."""
    found = Patience(job, allowed)
    left = found.left
    with found.spent():
        clock[0] += min(seconds, left)
    return left


def test_hardly_more_time_keeps_what_was_found_and_much_more_continues(job, clock):
    assert searched(job, clock, 13.5, 100) == 13.5
    assert searched(job, clock, 13.5, 100) == 0, "the same again"
    assert searched(job, clock, 13.65, 100) == 0, "a second more for the scan"
    assert searched(job, clock, 30, 100) == 16.5
    assert Patience(job, 30).taken == 30
    assert searched(job, clock, math.inf, 5) == math.inf
    assert searched(job, clock, 30, 100) == 0, "it has taken more already"


def test_an_interrupted_search_has_the_rest_of_its_time(job, clock):
    found = Patience(job, 13.5)
    with suppress(KeyboardInterrupt), found.spent():
        clock[0] += 12
        raise KeyboardInterrupt
    assert (found.taken, found.ended) == (12, False)
    assert Patience(job, 13.5).left == 1.5


def test_without_a_limit_it_never_ends(job):
    with Patience(job, math.inf).spent() as end:
        assert end == NEVER
