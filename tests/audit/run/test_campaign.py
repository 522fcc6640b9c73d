"""A plan carried out on a real tiny victim: timing, restarts, warm starts, what is skipped, and the split of time."""

import dataclasses
import math
import time
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.contract.card import Card
from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.simudy import SimuDy
from memaudit.audit.events import silence
from memaudit.audit.machine import clock as clocks
from memaudit.audit.machine.clock import Deadline
from memaudit.audit.machine.means import Limits, Means
from memaudit.audit.request import ScanRequest
from memaudit.audit.run import campaign as campaigns
from memaudit.audit.run.campaign import PROBE_STEPS, Campaign, share
from memaudit.audit.run.drive import Interrupted, drive
from memaudit.audit.run.planner import Choice
from memaudit.audit.run.store import Store, job_parts, key


@dataclasses.dataclass(frozen=True)
class First(SimuDy):
    name: ClassVar[str] = "first"
    iterations: int = 8


@dataclasses.dataclass(frozen=True)
class Second(First):
    name: ClassVar[str] = "second"


@dataclasses.dataclass(frozen=True)
class Span(First):
    """Stands for an exact attack: with so high a tolerance it always converges."""

    name: ClassVar[str] = "span"
    card: ClassVar[Card] = Card(exact=True)
    deterministic: ClassVar[bool] = True
    tolerance: float = math.inf

    def __post_init__(self):
        pass


@dataclasses.dataclass(frozen=True)
class Refusing(First):
    name: ClassVar[str] = "refusing"

    def init(self, victim, recipe, seed):
        raise Unsupported("refusing treats nothing.", "Try another.")


@dataclasses.dataclass(frozen=True)
class Slow(First):
    name: ClassVar[str] = "slow"
    iterations: int = 1000
    pause: float = 0.01

    def step(self, victim, recipe, state):
        time.sleep(self.pause)
        return super().step(victim, recipe, state)


@dataclasses.dataclass(frozen=True)
class Stopped(First):
    name: ClassVar[str] = "stopped"

    def step(self, victim, recipe, state):
        if state.step == 1:
            raise KeyboardInterrupt
        return super().step(victim, recipe, state)


@dataclasses.dataclass(frozen=True)
class Breaking(First):
    name: ClassVar[str] = "breaking"
    at: int = 0

    def step(self, victim, recipe, state):
        if state.step == self.at:
            raise IndexError("tuple index out of range")
        return super().step(victim, recipe, state)


def choice(attack, **more):
    return Choice(attack.name, attack, "a reason", **more)


@pytest.fixture
def make(tiny, tmp_path):
    def make(listener=silence, seconds=math.inf, folder="run", **asked):
        store = Store(tmp_path / folder)

        def place(attack, recipe, *more, seed):
            return store.job(key(job_parts(attack, recipe, seed), *more))

        request = ScanRequest("a", "b", **asked)
        means = Means(listener, limits=Limits(Deadline.after(seconds)))
        return Campaign(request, lambda: tiny[0], tiny[1], place, means)

    return make


def test_first_steps_are_timed_told_and_kept(make):
    events = []
    campaign = make(events.append)
    plan = campaign.measure([choice(First()), choice(Second(iterations=20), runs=False), choice(Slow(iterations=50))])
    assert [(c.name, c.runs) for c in plan] == [("first", True), ("second", False), ("slow", True)]
    assert [(e.stage, e.step, e.total) for e in events] == [("plan", n, 6) for n in range(1, 7)]
    assert "slow" in events[-1].message
    first, second, slow = plan
    assert first.seconds > 0
    assert first.left == pytest.approx(first.seconds * (8 - PROBE_STEPS) / 8)
    assert slow.seconds > 0.5
    assert slow.memory > 1e6
    assert (second.seconds, second.memory) == (None, None)
    assert all(c.share is None for c in plan)
    events.clear()
    runs, carried = campaign.carry_out(plan)
    assert carried == plan
    assert next(event.step for event in events if event.stage == "attack" and event.step) == PROBE_STEPS + 1
    whole = drive(First(), campaign.victim, campaign.recipe, 0)
    assert torch.equal(runs[0].outcome.reconstruction.records, whole.reconstruction.records)


def test_a_finished_attack_is_not_timed_again(make):
    campaign = make()
    campaign.carry_out(campaign.measure([choice(First())]))
    events = []
    again = make(events.append)
    (found,) = again.measure([choice(First())])
    assert events == []
    assert found.left == 0.0
    assert found.seconds > 0


def test_what_cannot_be_treated_is_left_out_and_reported_where_it_was_asked_for(make):
    campaign = make()
    plan = campaign.measure([choice(Refusing()), choice(First())])
    assert (plan[0].runs, plan[0].reason) == (False, "refusing treats nothing")
    runs, _ = campaign.carry_out(plan)
    assert [run.attack.name for run in runs] == ["first"]
    plan = campaign.measure([choice(Refusing(), asked=True)])
    ((run,), _) = campaign.carry_out(plan)
    assert (run.attack.name, run.outcome, run.reason) == ("refusing", None, "refusing treats nothing. Try another")


@pytest.mark.parametrize("at", [0, 5])
def test_an_attack_that_breaks_does_not_take_the_others_along(make, at):
    campaign = make()
    runs, _ = campaign.carry_out(campaign.measure([choice(Breaking(at=at), asked=True), choice(First())]))
    assert [(run.attack.name, run.outcome is None) for run in runs] == [("breaking", True), ("first", False)]
    assert "IndexError" in runs[0].reason


def test_a_full_disk_ends_the_scan(make, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    campaign = make()
    monkeypatch.setattr(campaigns, "drive", full)
    with pytest.raises(OSError, match="No space"):
        campaign.measure([choice(First())])


def test_restarts_are_one_run_for_each_seed_and_the_same_again(make):
    campaign = make(restarts=3, seed=4)
    plan = campaign.measure([choice(First()), choice(Span(tolerance=0.0))])
    assert plan[0].seconds > plan[0].left * 3
    runs, _ = campaign.carry_out(plan)
    assert [(run.attack.name, run.seed) for run in runs] == [("first", 4), ("first", 5), ("first", 6), ("span", 4)]
    images = [run.outcome.reconstruction.records for run in runs]
    assert not torch.equal(images[0], images[1])
    assert torch.equal(images[1], drive(First(), campaign.victim, campaign.recipe, 5).reconstruction.records)
    fewer, _ = make(restarts=2, seed=5, folder="other").carry_out([choice(First())])
    assert torch.equal(fewer[0].outcome.reconstruction.records, images[1])


def test_an_attack_goes_on_from_the_end_of_another_with_the_same_seed(make):
    campaign = make(restarts=2)
    plan = campaign.measure([choice(First()), choice(Second(), start_from="first")])
    assert plan[1].start_from == "first"
    runs, _ = campaign.carry_out(plan)
    for number in (0, 1):
        start = runs[number].outcome.state
        warm = drive(Second(), campaign.victim, campaign.recipe, number, start=start)
        assert torch.equal(runs[2 + number].outcome.reconstruction.records, warm.reconstruction.records)
    cold = drive(Second(), campaign.victim, campaign.recipe, 0)
    assert not torch.equal(runs[2].outcome.reconstruction.records, cold.reconstruction.records)


def test_there_is_no_start_where_the_other_attack_does_not_run_or_has_other_variables(make):
    campaign = make()
    refused = campaign.measure([choice(Refusing()), choice(Second(), start_from="refusing")])
    assert refused[1].start_from == ""
    other = First(parametrisation="pixels")
    assert campaign.measure([choice(other), choice(Second(), start_from="first")])[1].start_from == ""


def test_what_an_exact_attack_has_settled_is_skipped_unless_it_was_asked_for(make):
    events = []
    campaign = make(events.append)
    plan = campaign.measure([choice(Span()), choice(First(), optional=True), choice(Second(), asked=True)])
    events.clear()
    runs, carried = campaign.carry_out(plan)
    assert [run.attack.name for run in runs] == ["span", "second"]
    assert [c.runs for c in carried] == [True, False, True]
    assert "span converged" in carried[1].reason
    assert [e.message for e in events if e.stage == "skip"] == [f"first, as {carried[1].reason}"]
    assert (carried[1].step().seconds, carried[1].step().runs) == (None, False)
    campaign = make(folder="other")
    plan = campaign.measure([choice(Span(tolerance=0.0)), choice(First(), optional=True)])
    runs, _ = campaign.carry_out(plan)
    assert [run.attack.name for run in runs] == ["span", "first"]


class Clock:
    """The time of a test: it goes on only where the test says so, and has nothing to do with the machine's."""

    now = 1000.0

    def monotonic(self):
        return self.now

    def time(self):
        return self.now


class Noting:
    """An executor that notes how much time each piece of work is given, and uses what the test says of it."""

    width = 1

    def __init__(self, clock, used):
        self.clock, self.used, self.given = clock, list(used), []

    def map(self, function, items, listener):
        for work in items:
            self.given.append((work.attack.name, work.turn.seconds, work.limits.deadline.at, work.turn.closing))
            self.clock.now += min(self.used.pop(0), work.turn.seconds)
            yield "noted"


def test_time_is_split_and_what_is_left_passes_on(make, monkeypatch):
    clock, campaign = Clock(), make()
    monkeypatch.setattr(clocks, "time", clock)
    plan = [choice(First(), left=1.0), choice(Second(), left=5.0), choice(Slow(), left=5.0, closing=0.5)]
    executor = Noting(clock, [0.5, math.inf, math.inf])
    campaign.means = Means(silence, executor, Limits(Deadline(1012.0)))
    campaign.carry_out(plan)
    first = share(12.0, [1.0, 5.0, 5.0])
    assert executor.given == [
        ("first", pytest.approx(first), 1012.0, 0.0),
        ("second", pytest.approx(11.5 / 2), 1012.0, 0.0),
        ("slow", pytest.approx(11.5 / 2), 1012.0, 0.5),
    ]
    assert first > 0.5, "what it left passed on to the others"
    assert clock.now == pytest.approx(1012.0)


def test_attacks_end_when_their_share_of_the_time_is_over(make):
    campaign = make(seconds=2.0)
    plan = campaign.measure([choice(First()), choice(Slow()), choice(Slow(pause=0.011))])
    shares = [c.share for c in plan]
    assert shares[1] > shares[0] > 0
    assert sum(shares) <= 2.0
    runs, _ = campaign.carry_out(plan)
    assert [run.outcome.status for run in runs[1:]] == ["budget_spent"] * 2
    assert all(run.outcome.reconstruction is not None for run in runs)


@dataclasses.dataclass(frozen=True)
class Late(Slow):
    """Takes half a second to read off, by the clock of the test."""

    name: ClassVar[str] = "late"
    clock: Clock = dataclasses.field(default_factory=Clock)

    def finish(self, victim, recipe, state):
        self.clock.now += 0.5
        return super().finish(victim, recipe, state)


def test_the_time_to_read_off_is_measured(make, monkeypatch):
    monkeypatch.setattr(campaigns, "PROBE_SHARE", 0.3)
    attack, campaign = Late(), make(seconds=4.0)
    attack.clock.now = time.monotonic()
    for module in (campaigns, clocks):
        monkeypatch.setattr(module, "time", attack.clock)
    plan = campaign.measure([choice(attack), choice(Slow())])
    assert plan[0].closing == pytest.approx(0.5)
    assert plan[1].closing == 0.0


def test_a_run_that_began_before_the_other_one_ended_goes_on_as_it_began(make):
    plan = [choice(First()), choice(Second(iterations=40), start_from="first")]
    cut = make()
    cut.ends = Forgetful()
    early, _ = cut.carry_out(plan)
    again, _ = make().carry_out(make().measure(plan))
    assert torch.equal(again[1].outcome.reconstruction.records, early[1].outcome.reconstruction.records)
    other = make(folder="other")
    warm, _ = other.carry_out(other.measure(plan))
    assert not torch.equal(warm[1].outcome.reconstruction.records, early[1].outcome.reconstruction.records)


class Forgetful(dict):
    """Keeps no end, as if --max-time had cut every attack."""

    def __setitem__(self, *_):
        pass


def test_without_time_nothing_is_measured_and_nothing_claimed(make):
    campaign = make(seconds=-1.0)
    plan = campaign.measure([choice(First()), choice(Refusing(), asked=True)])
    assert [(c.runs, c.seconds, c.share) for c in plan] == [(True, None, 0.0), (False, None, None)]
    runs, _ = campaign.carry_out(plan)
    assert (runs[0].outcome.status, runs[0].outcome.reconstruction) == ("budget_spent", None)


def test_a_slow_attack_is_not_timed_for_long(make, monkeypatch):
    monkeypatch.setattr(campaigns, "PROBE_SECONDS", 0.05)
    events = []
    (found,) = make(events.append).measure([choice(Slow(pause=0.1))])
    assert len(events) == 1
    assert found.seconds > 100


def test_ctrl_c_while_timing_saves_and_resumes(make):
    with pytest.raises(Interrupted) as stop:
        make().measure([choice(First()), choice(Stopped())])
    assert stop.value.exit_code == 130


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        ([1.0], 12.0), ([5.0, 5.0], 6.0), ([0.0, 100.0], 3.0), ([None, None, None], 4.0), ([0.0, 0.0], 6.0),
        ([None, 2.0], 6.0), ([3.0, 1.0], 7.5),
    ],
)  # fmt: skip
def test_half_of_the_time_is_split_equally_and_half_by_estimate(waiting, expected):
    assert share(12.0, waiting) == pytest.approx(expected)
    assert share(math.inf, waiting) == math.inf


class Eager:
    """An executor that makes all items before the first one begins, as those do that send them elsewhere."""

    width = 1

    def map(self, function, items, listener):
        return [function(item, listener) for item in list(items)]


def test_what_has_to_wait_for_its_turn_has_its_time_all_the_same(make):
    campaign = make(seconds=4, restarts=3)
    limits = Limits(campaign.deadline, campaign.deadline.earlier(-1))
    campaign.means = Means(campaign.means.listener, Eager(), limits)
    runs, _ = campaign.carry_out(campaign.measure([choice(Slow())]))
    assert [run.outcome.status for run in runs] == ["budget_spent"] * 3
    assert all(run.outcome.reconstruction is not None and run.outcome.steps > PROBE_STEPS for run in runs)


def test_an_estimate_knows_that_the_first_updates_are_the_cheaper_ones():
    recipe, outcome = Recipe(4, 0.01, 4, 20), SimpleNamespace(
        state=SimpleNamespace(done=False), steps=3, seconds=3.0, peak_bytes=1
    )  # fmt: skip
    campaign = Campaign(ScanRequest("a", "b"), lambda: None, recipe, None, Means())
    even, uneven = SimuDy(iterations=100, coarse=0), SimuDy(iterations=100)
    flat, steep = (
        campaign._estimated(Choice("simudy", attack), attack, outcome, 1.0, 0.0) for attack in (even, uneven)
    )
    assert flat.seconds == 100
    assert steep.seconds == pytest.approx(190)  # 30 take twice as long, and 20 four times
