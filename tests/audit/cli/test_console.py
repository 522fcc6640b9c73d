"""What a terminal shows while work goes on, and the plan before it."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from memaudit import MemauditError
from memaudit.audit.cli import console as screens
from memaudit.audit.cli.console import Screen, make_console, print_error, print_written
from memaudit.audit.cli.plan import print_plan, print_search
from memaudit.audit.events import Event
from memaudit.audit.machine.clock import Deadline


def terminal(width=80):
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)


def said(console):
    return console.file.getvalue()


def step(attack, runs=True, reason="simulates the training: for any differentiable network", **more):
    usual = {"seconds": 7500.0, "share": None, "peak_memory_bytes": 3 * 2**30, "start_from": ""}
    return {"attack": attack, "runs": runs, "reason": reason, **usual, **more}


def test_no_estimate_is_longer_than_the_time_that_is_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(screens.time, "monotonic", lambda: clock[0])
    for end, told in ((Deadline(60), "about 40.0 s left\n"), (Deadline(1e5), "about 16 min 40 s left\n")):
        out = terminal()
        out.is_interactive, clock[0] = False, 0.0
        screen = Screen(out, end=end)
        for number in (1, 2, 3):
            screen(Event("attack", "simudy", number, 103))
            clock[0] += 10
        assert said(out).endswith(told)


def test_nothing_is_estimated_from_a_first_step(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(screens.time, "monotonic", lambda: clock[0])
    out = terminal()
    out.is_interactive = False
    screen, clock[0] = Screen(out), 60.0
    screen(Event("exposure", "gradients", 100, 400))
    assert said(out) == "Measuring gradients 100/400\n"


def test_a_bar_fits_a_narrow_terminal():
    out = terminal()
    with Screen(out, end=Deadline.after(60)) as screen:
        for number in range(1, 4):
            screen(Event("attack", "inverting_gradients", number, 24000, {"loss": 0.25}))
            screen.progress.refresh()
        (row,) = screen.progress.get_renderables()
        (line,) = out.render_lines(row, pad=False)
    text = "".join(part.text for part in line)
    assert text.startswith("Attacking inverting_gradients")
    assert "3/24000" in text


@pytest.mark.parametrize("width", [80, 160])
def test_the_largest_plan_fits_a_terminal(width):
    out = terminal(width)
    names = ["inverting_gradients", *(f"attack{number}" for number in range(14))]
    print_plan(out, [step(name, share=40.0) for name in names], left=900.0)
    lines = said(out).splitlines()
    assert lines[0] == "Plan: 15 of 15 attacks, up to 15 min 0 s, 3.0 GiB"
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    assert all(name in said(out) for name in names)
    assert "40.0 s of 2 h 5 min" in lines[2]


def test_what_is_left_out_is_named_and_with_v_explained():
    plan = [step("simudy"), step("gion", runs=False, reason="on request: slow"), step("haim", runs=False, reason="no")]
    short, long = terminal(), terminal()
    print_plan(short, plan)
    print_plan(long, plan, reasons=True)
    assert "Plan: 1 of 3 attacks, up to 2 h 5 min, 3.0 GiB" in said(short)
    assert "gion, haim" in said(short)
    assert "on request" not in said(short)
    assert "on request: slow" in said(long)


@pytest.mark.parametrize(
    ("times", "left", "time"),
    [
        ((0.0, 0.4), 900.0, ", under a second"),
        ((0.0,), float("inf"), ", under a second"),
        ((1.0, 3.5), float("inf"), ", up to 4.5 s"),
        ((3.5, None), 900.0, ", up to 15 min 0 s"),  # what is not known may take all there is
        ((3.5, None), float("inf"), ""),
    ],
)
def test_the_plan_promises_no_time_that_it_does_not_know(times, left, time):
    out = terminal()
    print_plan(out, [step(f"attack{number}", seconds=time) for number, time in enumerate(times)], left=left)
    assert said(out).splitlines()[0] == f"Plan: {len(times)} of {len(times)} attacks{time}, 3.0 GiB"


def test_the_search_is_told_before_the_plan():
    out = terminal()
    print_search(out, None)
    assert said(out) == ""
    print_search(out, 4.5)
    assert said(out) == "First a search for the learning rate, as none is known, up to 4.5 s\n"


def test_warnings_wrap_at_words_and_paths_do_not_wrap():
    out, path = terminal(40), "folder/" * 12 + "report.html"
    screen = Screen(out)
    screen(Event("warning", "Assumed, as it was not given: momentum = 0.0 (--momentum)."))
    screen(Event("report", path))
    print_written(out, screen.written)
    assert said(out).splitlines()[0].strip() == "warning: Assumed, as it was not given:"
    assert f"Wrote {path}" in said(out)


def test_quiet_is_quiet():
    out = terminal()
    screen = Screen(out, -1)
    for stage in ("warning", "load", "resume", "report", "done"):
        screen(Event(stage, "x"))
    screen(Event("attack", "simudy", 1, 2))
    screen(Event("plan", plan=(step("simudy"),)))
    assert said(out) == ""
    assert screen.written == ["x"]


def test_a_run_that_continues_says_where():
    out = terminal()
    Screen(out)(Event("resume", "simudy at 69 of 360"))
    assert said(out) == "Continuing: simudy at 69 of 360\n"


def test_nothing_from_outside_acts_on_the_terminal(capsys):
    console = make_console(answer=True)
    print_error(console, MemauditError("a\x1b[2J\n::error::b \ud800:bomb:", "c\x9b"))
    console.print("d\x1b]0;e\x07", markup=False)
    console.print(Table("f\u202e"))
    said = capsys.readouterr().out
    assert said.replace("\n", "").isprintable()
    assert said.splitlines()[:2] == [r"error: a\x1b[2J\n: :error::b \ud800:bomb: c\x9b", r"d\x1b]0;e\x07"]
