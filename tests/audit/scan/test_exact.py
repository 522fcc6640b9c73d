"""What needs no recipe comes first; where it explains the change, nothing is searched for and nothing else is timed."""

import dataclasses
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from memaudit.audit.machine.clock import Deadline
from memaudit.audit.machine.means import Means
from memaudit.audit.request import ScanRequest
from memaudit.audit.run.planner import candidates
from memaudit.audit.run.store import Store
from memaudit.audit.scan.exact import SHARE, explained, recipeless
from memaudit.audit.scan.learn import UNUSED, unsearched
from memaudit.audit.scan.pipeline import scan
from memaudit.audit.scan.place import job_place
from memaudit.audit.scan.scene import load

KNOWN = {"normalise": "0.5;0.25", "epochs": 10}


@pytest.fixture
def request_of(leak, tmp_path):
    return ScanRequest(leak.before, leak.after, out=tmp_path / "run", **KNOWN)


def first(request, means=Means()):  # noqa: B008
    scene = load(request, lambda event: None)
    place = job_place(scene, Store(request.out))
    return explained(scene, unsearched(scene).recipe, candidates(request), place, means)


def test_an_unknown_learning_rate_is_not_searched_for_where_spear_explains_the_change(leak, request_of):
    events = []
    report = scan(dataclasses.replace(request_of, data=leak.data), events.append)
    assert (report.verdict.status, report.attacks[0].name, report.attacks[0].status) == ("fail", "spear", "converged")
    assert report.attacks[0].metrics.similarity_mean > 0.99
    assert not report.search
    assert not [event for event in events if event.stage == "search"]
    assert (report.recipe["lr"].source, report.recipe["lr"].evidence) == ("assumed", UNUSED)
    assert [step.attack for step in report.plan if step.runs] == ["spear"]
    simudy = next(step for step in report.plan if step.attack == "simudy")
    assert simudy.reason == "spear converged: what it found explains the change"
    assert simudy.seconds is None  # its first steps were not taken


def test_what_later_scans_need_is_searched_for_all_the_same(request_of):
    report = scan(dataclasses.replace(request_of, max_iterations=40), search=True)
    assert (report.attacks[0].name, report.attacks[0].status) == ("spear", "converged")
    assert report.search
    assert report.recipe["lr"].source == "inferred"


def test_the_run_that_came_first_is_returned_and_found_again(request_of):
    one, again = first(request_of), first(request_of)
    assert one.attack.name == again.attack.name == "spear"
    assert (one.outcome.status, again.outcome.status) == ("converged", "converged")
    assert one.outcome.state.step == again.outcome.state.step


def test_of_several_seeds_the_one_that_converged_is_returned(request_of, monkeypatch):
    run = first(request_of)
    failed = dataclasses.replace(run, outcome=dataclasses.replace(run.outcome, status="stalled"))
    monkeypatch.setattr("memaudit.audit.scan.exact.Campaign.carry_out", lambda self, plan: ([failed, run], plan))
    assert first(request_of) is run


@pytest.mark.parametrize(
    "change",
    [{"attacks": ("all",)}, {"options": ("simudy.iterations=9",)}, {"attacks": ("simudy",)}, {"weight_decay": 0.1},
     {"optimizer": "adam"}],
    ids=["all-attacks", "another-is-set", "another-is-named", "decay-needs-the-rate", "no-sgd"],
)  # fmt: skip
def test_nothing_comes_first_where_others_run_in_any_case_or_the_rate_counts(request_of, change):
    assert first(dataclasses.replace(request_of, **change)) is None


def test_what_does_not_converge_settles_nothing(request_of, leak, tmp_path):
    gen = torch.Generator().manual_seed(0)
    noisy = {
        name: value + 0.01 * torch.randn(value.shape, generator=gen) for name, value in load_file(leak.after).items()
    }
    save_file(noisy, tmp_path / "noisy.safetensors")
    assert first(dataclasses.replace(request_of, after=tmp_path / "noisy.safetensors")) is None


def test_it_takes_a_share_of_the_time(request_of, monkeypatch):
    seen = []

    class Campaign:
        def __init__(self, request, ground, recipe, place, means):
            seen.append(means.limits.deadline.left)

        def carry_out(self, plan):
            return [], plan

    monkeypatch.setattr("memaudit.audit.scan.exact.Campaign", Campaign)
    assert first(request_of, Means().until(Deadline.after(100.0))) is None
    assert 0 < seen[0] <= 100 * SHARE
    assert first(request_of) is None
    assert seen[1] == math.inf


def test_a_given_decay_makes_the_learning_rate_count(request_of):
    spear = next(choice for choice in candidates(request_of) if choice.name == "spear")
    known = load(request_of, lambda event: None).known.recipe
    assert recipeless(spear, known)
    assert not recipeless(spear, dataclasses.replace(known, weight_decay=0.1))
    assert recipeless(spear, dataclasses.replace(known, weight_decay=0.1, lr=0.01))
