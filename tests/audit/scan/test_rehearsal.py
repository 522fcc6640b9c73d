"""A scan up to its plan: nothing runs, and nothing is left."""

import math
import os

import pytest

from memaudit.audit.request import RequestError, ScanRequest
from memaudit.audit.scan.rehearsal import rehearse


@pytest.fixture
def asked(leak, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def ask(**more):
        return rehearse(ScanRequest(leak.before, leak.after, normalise="0.5;0.25", epochs=10, **more))

    return ask


@pytest.mark.slow
def test_it_tells_time_and_memory_of_what_would_run_and_leaves_nothing(asked, tmp_path):
    found = asked(attacks=("simudy", "sme"), max_time=60.0)
    assert [step.attack for step in found.plan] == ["simudy", "sme"]
    assert all(step.seconds and step.peak_memory_bytes and step.share for step in found.plan)
    assert found.search is not None
    assert 0 < found.search <= 0.15 * 60
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_known_learning_rate_is_not_searched_for(asked):
    assert asked(attacks=("sme",), lr=0.02).search is None
    assert asked(attacks=("sme",)).search == math.inf, "the attack that would search is not timed"


def test_it_refuses_what_a_scan_refuses(asked):
    with pytest.raises(RequestError):
        asked(restarts=0)
