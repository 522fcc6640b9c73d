"""Pieces of work in processes of this machine, one for each GPU."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch

from ..events import Event, Listener
from . import interrupt
from .clock import Deadline
from .executor import RETRIES, ExecutorError, Function, Item, Result, safe_path, throttled
from .numerics import exact_numerics

PARTING = 10.0
"""Seconds that processes have to save their states when the user stops them."""

SPAWN = multiprocessing.get_context("spawn")


@dataclass
class _Running:
    """One item in its process, on one GPU."""

    number: int
    slot: int
    process: Any
    pipe: Connection


class Processes:
    """Does each item in a process of its own, which is started again if it dies.

    Args:
        width: How many at once, each on a GPU of its own where the work is for GPUs.
        threads: Of each process.
    """

    def __init__(self, width: int, threads: int) -> None:
        self.width = width
        self.threads = threads

    def map(self, function: Function[Item, Result], items: Iterable[Item], listener: Listener) -> list[Result]:
        """Return what ``function`` gives for each item."""
        asked = list(items)
        waiting, slots = list(range(len(asked))), list(range(self.width))
        results: dict[int, Result] = {}
        running: list[_Running] = []
        deaths = 0
        try:
            while len(results) < len(asked):
                while waiting and slots:
                    number = waiting.pop(0)
                    running.append(self._start(function, asked[number], number, slots.pop(0)))
                for one in [one for one in running if one.pipe in wait([one.pipe for one in running])]:
                    over, again = self._hear(one, results, listener)
                    if over:
                        running.remove(one)
                        slots.append(one.slot)
                    if again:
                        deaths += 1
                        waiting.insert(0, one.number)
                        if deaths > RETRIES:
                            raise ExecutorError("Processes died too often.", "Run the same command to resume.")
        finally:
            _stop(running)
        return [results[number] for number in range(len(asked))]

    def _start(self, function: Any, item: Any, number: int, slot: int) -> _Running:
        here, there = SPAWN.Pipe()
        process = SPAWN.Process(target=_carry, args=(function, item, self.threads, slot, there), daemon=True)
        with safe_path():
            process.start()
        there.close()
        return _Running(number, slot, process, here)

    def _hear(self, one: _Running, results: dict[int, Any], listener: Listener) -> tuple[bool, bool]:
        """Hear one message; return whether the process is over, and whether it died."""
        try:
            kind, content = one.pipe.recv()
        except (EOFError, ConnectionError):
            one.process.join()
            return True, True
        if kind == "event":
            listener(content)
            return False, False
        if kind == "result":
            results[one.number] = content
        one.pipe.send("thanks")  # until then it keeps the memory that it shares
        one.process.join()
        if kind == "error":
            raise content
        return True, False


def _stop(running: list[_Running]) -> None:
    """Have processes save their states, and leave none running."""
    for one in running:
        if one.process.is_alive():
            os.kill(one.process.pid, signal.SIGTERM)
    end = Deadline.after(PARTING)
    for one in running:
        one.pipe.close()
        one.process.join(end.left)
        if one.process.is_alive():
            one.process.kill()
            one.process.join()


def _portable(error: Exception) -> Exception:
    """Return an error that another process can read: itself, or one that says the same."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        known = False
    else:
        known = type(error).__module__.partition(".")[0] in ("memaudit", "builtins", "torch")
    return error if known else RuntimeError(f"{type(error).__name__}: {error}")


def _carry(function: Any, item: Any, threads: int, slot: int, pipe: Connection) -> None:
    """Do one item in this process."""
    interrupt.listen()
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(slot)

    def tell(event: Event) -> None:
        pipe.send(("event", event))

    try:
        with exact_numerics():
            answer = ("result", function(item, throttled(tell, time.monotonic)))
    except KeyboardInterrupt:
        return
    except Exception as error:
        answer = ("error", _portable(error))
    with contextlib.suppress(OSError, EOFError):  # the parent process is gone
        pipe.send(answer)
        pipe.recv()
