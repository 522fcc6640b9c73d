import contextlib
import dataclasses
import math
import os
import signal
import time
from typing import ClassVar

import pytest
import torch

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.simudy import SimuDy
from memaudit.audit.machine import clock, interrupt
from memaudit.audit.machine.alarm import alarm
from memaudit.audit.machine.clock import Deadline
from memaudit.audit.run import drive as driving
from memaudit.audit.run.drive import Budget, Interrupted, drive
from memaudit.audit.run.session import shared
from memaudit.audit.run.store import Store

ATTACK = SimuDy(iterations=12, step_size=0.1)


@dataclasses.dataclass(frozen=True)
class Failing(SimuDy):
    """SimuDy whose loss becomes ``loss`` at step ``at``."""

    name: ClassVar[str] = "failing"
    at: int = 4
    value: float = math.nan

    def step(self, victim, recipe, state):
        state = super().step(victim, recipe, state)
        return dataclasses.replace(state, loss=self.value) if state.step == self.at else state


@dataclasses.dataclass(frozen=True)
class Stopped(SimuDy):
    """SimuDy during which the user presses Ctrl-C at step ``at``."""

    name: ClassVar[str] = "stopped"
    at: int = 5

    def step(self, victim, recipe, state):
        if state.step == self.at:
            raise KeyboardInterrupt
        return super().step(victim, recipe, state)


@pytest.fixture
def scene(tiny):
    return tiny[0], tiny[1], 0


def test_runs_to_the_end_of_the_schedule(scene):
    events = []
    outcome = drive(ATTACK, *scene, listener=events.append)
    assert outcome.steps == 12
    assert [event.step for event in events] == [*range(1, 13), 0]
    assert all(event.total == 12 and "loss" in event.values for event in events[:-1])
    assert [step for step, _ in outcome.curve] == list(range(1, 13))
    assert outcome.reconstruction.records.shape == (4, 3, 2, 2)
    assert outcome.seconds > 0
    assert outcome.peak_bytes > 0


@dataclasses.dataclass(frozen=True)
class Finishing(SimuDy):
    """SimuDy that claims so many images, and whether its loss speaks for them."""

    name: ClassVar[str] = "finishing"
    images: int = 4
    doubt: str = ""

    def finish(self, victim, recipe, state):
        found = super().finish(victim, recipe, state)
        return dataclasses.replace(found, records=found.records[: self.images], doubt=self.doubt)


def test_images_that_the_loss_does_not_speak_for_never_converge(scene):
    attack = Finishing(iterations=80, step_size=0.1, alpha=0.0, beta=0.0, parametrisation="pixels", tolerance=0.1)
    assert drive(attack, *scene).status == "converged"
    assert drive(dataclasses.replace(attack, doubt="it may be wrong"), *scene).status == "stalled"


def test_no_images_are_no_reconstruction(scene):
    found = drive(Finishing(iterations=2, images=0), *scene)
    assert found.reconstruction is None
    assert found.status == "stalled"


def test_converged_and_stalled_differ_by_the_tolerance(scene):
    attack = SimuDy(iterations=80, step_size=0.1, alpha=0.0, beta=0.0, parametrisation="pixels", tolerance=0.1)
    assert drive(attack, *scene).status == "converged"
    assert drive(dataclasses.replace(attack, tolerance=0.0), *scene).status == "stalled"


def test_budget_in_steps_then_the_rest_is_the_uninterrupted_run(scene, tmp_path):
    job = Store(tmp_path).job("a")
    part = drive(ATTACK, *scene, job=job, budget=Budget(steps=5))
    assert (part.status, part.steps) == ("budget_spent", 5)
    rest = drive(ATTACK, *scene, job=job)
    whole = drive(ATTACK, *scene)
    assert torch.equal(rest.reconstruction.records, whole.reconstruction.records)
    assert rest.curve == whole.curve
    assert rest.seconds > part.seconds


def test_a_finished_job_is_not_run_again(scene, tmp_path):
    job = Store(tmp_path).job("a")
    first = drive(ATTACK, *scene, job=job)
    events = []
    again = drive(ATTACK, *scene, job=job, listener=events.append)
    assert [event.stage for event in events] == ["finish"]
    assert torch.equal(first.reconstruction.records, again.reconstruction.records)
    assert again.status == first.status


def test_deadline_in_the_past_ends_at_once_with_nothing_found(scene):
    events = []
    outcome = drive(ATTACK, *scene, budget=Budget(deadline=Deadline.after(0)), listener=events.append)
    assert (outcome.status, outcome.steps, outcome.curve) == ("budget_spent", 0, ())
    assert outcome.reconstruction is None
    assert events == []


@dataclasses.dataclass(frozen=True)
class Endless(SimuDy):
    """SimuDy whose time is up in the step ``at``, or in ``finish`` where that is negative: there it would not end."""

    name: ClassVar[str] = "endless"
    at: int = -1

    def step(self, victim, recipe, state):
        return self._late() if state.step == self.at else super().step(victim, recipe, state)

    def finish(self, victim, recipe, state):
        return self._late() if self.at < 0 else super().finish(victim, recipe, state)

    def _late(self):
        os.kill(os.getpid(), signal.SIGALRM)  # the alarm of a Budget's end; without one, the end of these tests
        time.sleep(60)
        raise AssertionError("nobody gave it up")


@pytest.fixture
def ends(monkeypatch):
    """When the alarms are set that drive sets."""
    found = []
    monkeypatch.setattr(driving, "alarm", lambda end: found.append(end) or alarm(end))
    return found


def test_a_step_in_progress_is_given_up_when_all_time_is_over(scene, tmp_path, ends):
    job, end = Store(tmp_path).job("a"), Deadline.after(3600)
    outcome = drive(Endless(iterations=12, at=4), *scene, job=job, budget=Budget(end=end))
    assert (outcome.status, outcome.steps) == ("budget_spent", 4)
    assert job.load(scene[0].like)[0].step == 4
    assert set(ends) == {end}


def test_a_reading_off_that_takes_too_long_claims_nothing(scene, tmp_path, ends):
    job, end = Store(tmp_path).job("a"), Deadline.after(3600)
    outcome = drive(Endless(iterations=3), *scene, job=job, budget=Budget(end=end))
    assert (outcome.status, outcome.reconstruction) == ("budget_spent", None)
    assert set(ends) == {end}
    assert drive(SimuDy(iterations=3), *scene, job=job).reconstruction is not None


class Clock:
    """The time of a test: it goes on only where the test says so."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now


@dataclasses.dataclass(frozen=True)
class Ticking(SimuDy):
    """SimuDy whose steps take 0.2 s, and reading off 0.3 s, by the clock of the test."""

    name: ClassVar[str] = "ticking"
    clock: Clock = dataclasses.field(default_factory=Clock)

    def step(self, victim, recipe, state):
        self.clock.now += 0.2
        return super().step(victim, recipe, state)

    def finish(self, victim, recipe, state):
        self.clock.now += 0.3
        return super().finish(victim, recipe, state)


def test_no_step_begins_that_would_not_be_over_with_the_reading_off(scene, monkeypatch):
    attack = Ticking(iterations=100)
    for module in (driving, clock):
        monkeypatch.setattr(module, "time", attack.clock)
    outcome = drive(attack, *scene, budget=Budget(deadline=Deadline(101.2), closing=0.3))
    assert outcome.reconstruction is not None
    assert outcome.steps == 4, "0.8 s, and 0.3 s to read off; a fifth step would end after 1.3 s"
    assert attack.clock.now == pytest.approx(101.1)


def test_diverged_in_the_first_step_leaves_nothing_to_read_off(scene):
    outcome = drive(Failing(iterations=12, step_size=0.1, at=1), *scene)
    assert (outcome.status, outcome.steps, outcome.reconstruction) == ("diverged", 0, None)


def test_a_start_gives_variables_of_the_same_name_and_shape_and_the_labels(scene):
    first = drive(dataclasses.replace(ATTACK, iterations=5), *scene)
    names = {**first.state.variables, "other": torch.ones(1)}
    start = dataclasses.replace(first.state, variables=names)
    taken = drive(ATTACK, *scene, budget=Budget(steps=0), start=start).state
    assert taken.step == 0
    assert taken.variables.keys() == first.state.variables.keys()
    assert all(torch.equal(value, names[name]) for name, value in taken.variables.items())
    assert torch.equal(taken.constants["labels"], first.state.constants["labels"])
    fresh = ATTACK.init(*scene)
    smaller = dataclasses.replace(start, variables={name: value[:1] for name, value in names.items()})
    assert shared(fresh, smaller) == set()
    kept = drive(ATTACK, *scene, budget=Budget(steps=0), start=smaller).state
    assert all(torch.equal(value, fresh.variables[name]) for name, value in kept.variables.items())


def test_an_attack_may_take_over_a_start_of_any_shape_by_itself(scene):
    @dataclasses.dataclass(frozen=True)
    class Own(type(ATTACK)):
        def started(self, victim, recipe, state, start):
            return dataclasses.replace(state, terms={"taken": start.loss})

    own = Own(**{field.name: getattr(ATTACK, field.name) for field in dataclasses.fields(ATTACK)})
    start = dataclasses.replace(ATTACK.init(*scene), variables={}, loss=0.25)
    assert drive(own, *scene, budget=Budget(steps=0), start=start).state.terms == {"taken": 0.25}


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9])
def test_divergence_is_an_outcome_with_the_last_finite_state(scene, value):
    outcome = drive(Failing(iterations=12, step_size=0.1, value=value), *scene)
    assert (outcome.status, outcome.steps) == ("diverged", 3)
    assert torch.isfinite(outcome.reconstruction.records).all()
    assert all(math.isfinite(loss) for _, loss in outcome.curve)


def test_a_diverged_job_stays_diverged(scene, tmp_path):
    job = Store(tmp_path).job("a")
    attack = Failing(iterations=12, step_size=0.1)
    assert drive(attack, *scene, job=job).status == "diverged"
    assert drive(attack, *scene, job=job).status == "diverged"


def test_ctrl_c_saves_and_resumes(scene, tmp_path):
    job = Store(tmp_path).job("a")
    with pytest.raises(Interrupted) as stop:
        drive(Stopped(iterations=12, step_size=0.1), *scene, job=job)
    assert stop.value.exit_code == 130
    assert job.load(scene[0].like)[0].step == 5
    rest, whole = drive(ATTACK, *scene, job=job).state, drive(ATTACK, *scene).state
    assert all(torch.equal(rest.variables[name], value) for name, value in whole.variables.items())


def test_state_is_saved_while_running(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(driving, "SAVE_SECONDS", 0.0)
    job, seen = Store(tmp_path).job("a"), []
    drive(ATTACK, *scene, job=job, listener=lambda event: seen.append(job.path.exists()))
    assert seen[1:] == [True] * 12
    assert not list(job.path.parent.glob("*.tmp"))


def test_a_lost_interrupt_still_stops_before_the_next_step(tiny, monkeypatch):
    """As where a signal arrives while code in C swallows exceptions."""
    victim, recipe, *_ = tiny
    seen = []

    def listener(event):
        seen.append(event.step)
        with contextlib.suppress(KeyboardInterrupt):
            interrupt._interrupt(2, None)

    monkeypatch.setattr(interrupt, "_asked", False)
    with pytest.raises(Interrupted):
        drive(SimuDy(iterations=5), victim, recipe, 0, listener=listener)
    assert seen == [1]


@dataclasses.dataclass(frozen=True)
class Exhausted(SimuDy):
    """SimuDy for whose graphs memory never suffices, beyond those of the adjoint that is ``enough``."""

    name: ClassVar[str] = "exhausted"
    enough: int = 2
    error: type[Exception] = torch.OutOfMemoryError

    def step(self, victim, recipe, state):
        if int(state.constants["adjoint"]) < self.enough:
            raise self.error("out of memory")
        return super().step(victim, recipe, state)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_out_of_memory_goes_on_with_the_next_smaller_plan_and_says_so(scene, error):
    events = []
    outcome = drive(Exhausted(iterations=4, error=error), *scene, listener=events.append)
    assert outcome.steps == 4
    warnings = [event.message for event in events if event.stage == "warning"]
    assert [message.split("=")[1] for message in warnings] == ["stepwise", "forward"]
    plain = drive(SimuDy(iterations=4, adjoint="forward"), *scene)
    assert torch.equal(outcome.reconstruction.records, plain.reconstruction.records)


@dataclasses.dataclass(frozen=True)
class ExhaustedAtLast(SimuDy):
    """SimuDy for which memory does not suffice to read off the reconstruction, but with the smallest plan."""

    name: ClassVar[str] = "exhausted_at_last"

    def finish(self, victim, recipe, state):
        if int(state.constants["adjoint"]) < 5:
            raise RuntimeError("could not create a primitive")
        return super().finish(victim, recipe, state)


def test_out_of_memory_at_the_end_goes_on_with_a_smaller_plan_too(scene):
    outcome = drive(ExhaustedAtLast(iterations=4, adjoint="forward"), *scene)
    plain = drive(SimuDy(iterations=4, adjoint="forward"), *scene)
    torch.testing.assert_close(outcome.reconstruction.influence, plain.reconstruction.influence)


def test_out_of_memory_with_the_smallest_plan_ends_the_run(scene):
    with pytest.raises(torch.OutOfMemoryError):
        drive(Exhausted(iterations=4, enough=100), *scene)


def test_a_memory_budget_picks_a_smaller_plan(scene):
    free = drive(ATTACK, *scene, budget=Budget(steps=0)).state.constants
    tight = drive(ATTACK, *scene, budget=Budget(steps=1, memory=int(free["bytes"]) - 1)).state.constants
    assert int(free["adjoint"]) < int(tight["adjoint"])
    with pytest.raises(Unsupported, match="max-memory"):
        drive(ATTACK, *scene, budget=Budget(memory=10.0))


def test_a_state_that_knows_no_memory_goes_on(scene, tmp_path):
    """As those that were saved before plans were predicted."""
    job = Store(tmp_path).job("old")
    begun = drive(ATTACK, *scene, job=job, budget=Budget(2))
    constants = {name: value for name, value in begun.state.constants.items() if name != "bytes"}
    extra = {"seconds": 0.0, "peak_bytes": 0, "curve": [], "diverged": False}
    job.save(dataclasses.replace(begun.state, constants=constants), extra)
    assert drive(ATTACK, *scene, job=job, budget=Budget(3)).steps == 3
