import math
import os
import signal
import sys
import threading
import time

import pytest

from memaudit.audit.machine.alarm import AGAIN, TimeUp, alarm
from memaudit.audit.machine.clock import Deadline


def stubborn(said):
    """Sleep, whatever error comes."""
    try:
        time.sleep(60)
    except Exception:
        said.append("took it for an error")
    said.append("ran to its end")


@pytest.mark.parametrize("left", [0.1, -1.0])
def test_work_that_looks_at_no_clock_ends(left):
    said = []
    with pytest.raises(TimeUp), alarm(Deadline.after(left)):
        stubborn(said)
    assert said == []


@pytest.mark.parametrize("deadline", [math.inf, 0.05])
def test_what_is_over_in_time_hears_nothing(deadline):
    before = signal.getsignal(signal.SIGALRM)
    with alarm(Deadline.after(deadline)):
        pass
    time.sleep(0.1)
    assert signal.getsignal(signal.SIGALRM) is before


def test_other_threads_run_to_their_end():
    done = []

    def work():
        with alarm(Deadline.after(-1)):
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


class Deaf:
    """Something whose end takes a moment, and loses what is raised in it."""

    def __del__(self):
        time.sleep(0.2)


def deaf_and_long(said):
    Deaf()
    stubborn(said)


def test_a_ring_that_is_lost_comes_again(monkeypatch):
    lost, said, began = [], [], time.monotonic()
    monkeypatch.setattr(sys, "unraisablehook", lambda error: lost.append(error.exc_type))
    with pytest.raises(TimeUp), alarm(Deadline(began + 0.05)):
        deaf_and_long(said)
    assert (lost, said) == ([TimeUp], [])
    assert time.monotonic() - began >= 0.05 + AGAIN


def interrupted():
    """Ctrl-C, and the time is up while it is on its way."""
    try:
        raise KeyboardInterrupt
    finally:
        os.kill(os.getpid(), signal.SIGALRM)


def test_an_interrupt_is_not_taken_for_the_end_of_the_time():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(KeyboardInterrupt), alarm(Deadline.after(5)):
        interrupted()
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("length", [0.05, 0.3])
def test_a_timer_that_was_running_goes_on(length):
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(time.monotonic()))
    try:
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with alarm(Deadline(began + 60)):
            time.sleep(length)
            assert not rung, "within the block it keeps silent"
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= max(0.2 - length, 0.001), "what was left of it goes on"
        for _ in range(6000):  # one minute, against hanging
            if rung:
                break
            time.sleep(0.01)
        assert len(rung) == 1
        assert rung[0] - began >= 0.2
        time.sleep(0.1)
        assert len(rung) == 1
    finally:
        signal.signal(signal.SIGALRM, before)
