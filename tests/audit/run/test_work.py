"""A piece of work: what it may use is counted from when it begins, wherever that is."""

import time

import pytest

from memaudit.attacks.simudy import SimuDy
from memaudit.audit.machine.clock import NEVER, Deadline
from memaudit.audit.machine.means import Limits
from memaudit.audit.run import work as working
from memaudit.audit.run.drive import Budget, drive
from memaudit.audit.run.store import Store
from memaudit.audit.run.work import PROBE_STEPS, Turn, Work, carry_out


@pytest.mark.parametrize(
    ("turn", "limits", "deadline", "end"),
    [
        (Turn(), {}, None, None),
        (Turn(100.0, overrun=20.0), {}, 100.0, 120.0),
        (Turn(100.0, overrun=20.0), {"deadline": 70.0}, 70.0, 120.0),
        (Turn(100.0, overrun=20.0), {"end": 110.0}, 100.0, 110.0),
    ],
)
def test_time_ends_for_new_steps_first_and_later_for_one_in_progress(
    tiny, tmp_path, monkeypatch, turn, limits, deadline, end
):
    victim, recipe, *_ = tiny
    budgets, drive = [], working.drive
    monkeypatch.setattr(
        working, "drive", lambda *args, budget, **more: budgets.append(budget) or drive(*args, budget=budget, **more)
    )
    before = time.monotonic()
    limits = Limits(**{name: Deadline.after(seconds) for name, seconds in limits.items()})
    work = Work(SimuDy(iterations=1), recipe, 0, Store(tmp_path).job("a"), limits, turn=turn)
    assert carry_out(lambda: victim, work, lambda event: None).steps == 1
    (budget,), after = budgets, time.monotonic()
    for found, expected in ((budget.deadline, deadline), (budget.end, end)):
        begun = found.at - (expected or 0.0)  # limits are counted from when they were set, turns from when work begins
        assert before <= begun <= after if expected else found == NEVER


@pytest.mark.parametrize(("steps", "told"), [(PROBE_STEPS, []), (5, ["simudy, seed 1 at 5 of 6"])])
def test_a_run_that_continues_says_where_unless_it_was_only_timed(tiny, tmp_path, steps, told):
    victim, recipe, *_ = tiny
    attack, job, events = SimuDy(iterations=6), Store(tmp_path).job("a"), []
    drive(attack, victim, recipe, 0, job=job, budget=Budget(steps=steps), finish=False)
    carry_out(lambda: victim, Work(attack, recipe, 0, job, label="simudy, seed 1"), events.append)
    assert [event.message for event in events if event.stage == "resume"] == told
    carry_out(lambda: victim, Work(attack, recipe, 0, job), events.append)
    assert sum(event.stage == "resume" for event in events) == len(told), "what is over does not continue"


def test_a_probe_says_nothing_of_it(tiny, tmp_path):
    victim, recipe, *_ = tiny
    attack, job, events = SimuDy(iterations=6), Store(tmp_path).job("a"), []
    drive(attack, victim, recipe, 0, job=job, budget=Budget(steps=5), finish=False)
    carry_out(lambda: victim, Work(attack, recipe, 0, job, probe=True), events.append)
    assert {event.stage for event in events} == {"search"}
