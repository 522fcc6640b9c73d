"""Pieces of work for other processes, in a file that imports little: each process imports it anew."""

import os
import signal
import time
from pathlib import Path

import torch

from memaudit.audit.events import Event
from memaudit.audit.machine.executor import ExecutorError


def doubled(item, listener):
    listener(Event("attack", str(item), 1, 1))
    return torch.full((1000,), 2.0 * item), torch.get_num_threads()


def dying(item, listener):
    """Die once for each file in a folder."""
    for path in Path(item).iterdir():
        path.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def failing(item, listener):
    """Sleep and say who does and for how long, or fail as soon as somebody sleeps."""
    folder, fails = item
    if fails:
        while not (folder / "asleep").exists():
            time.sleep(0.01)
        raise ExecutorError("It cannot be done.", "Leave it.")
    (folder / "beside").write_text(str(os.getpid()))
    (folder / "beside").rename(folder / "asleep")
    time.sleep(60)
    (folder / "awake").touch()


class Stubborn(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def stubborn(item, listener):
    raise Stubborn("this", lambda: None)
