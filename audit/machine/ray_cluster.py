"""Pieces of work on a Ray cluster. Ray is imported only here, and only when it is asked for."""

import importlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from ..events import Event, Listener
from .executor import RETRIES, ExecutorError, Function, Item, Result, safe_path, throttled
from .numerics import exact_numerics

POLL = 0.2
"""Seconds between two readings of the workers' events."""

PARTING = 10.0
"""Seconds that workers have to save their states when the user stops them."""


def check_ray() -> Any:
    """Return the module. Raises :class:`.executor.ExecutorError` where it is not installed."""
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ExecutorError(
            "Ray is not installed.", "Run pip install '.[ray]' in a checkout of memaudit, or use --executor local."
        ) from None


@contextmanager
def ray_cluster(address: str, threads: int, gpus: int) -> Iterator["Ray"]:
    """Give an executor on a cluster; leave the cluster after it, and end it if it was started for this.

    A connection that the caller had before is taken, and stays. Arguments are those of :class:`Ray` and ``address``,
    that of a running cluster; empty for the one that RAY_ADDRESS names, else for a cluster of this machine.
    """
    ray = check_ray()
    if ray.is_initialized():
        yield Ray(ray, threads, gpus)
        return
    _connect(ray, address)
    try:
        yield Ray(ray, threads, gpus)
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)} if main else {}
    job = ray.job_config.JobConfig()
    job._py_driver_sys_path = _Elsewhere()
    try:
        with safe_path():
            ray.init(address=address or None, job_config=job, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise ExecutorError(f"There is no Ray cluster at {address or 'this machine'} ({first}).") from None
    finally:
        for number, handler in handlers.items():  # Ray's own would end the process before states are saved
            signal.signal(number, handler)


class _Elsewhere(list[str]):
    """Folders that workers import from: Ray adds the current one, which may be a stranger's, and it is left out."""

    def extend(self, folders: Iterable[str]) -> None:
        super().extend(folder for folder in folders if os.path.realpath(folder) != os.path.realpath(os.curdir))


class Ray:
    """Each item a task that asks for its threads as CPUs, and for a GPU where it computes on one.

    A task whose worker dies is started again, wherever there is room, and continues from its state in the run folder.

    Args:
        ray: The module, connected.
        threads: Of each task; the same everywhere, as the last bits of the numbers depend on it.
        gpus: GPUs of each task.
    """

    def __init__(self, ray: Any, threads: int, gpus: int) -> None:
        self.ray = ray
        self.threads = threads
        self.held: dict[int, tuple[Any, Any]] = {}
        here = self.ray.get_runtime_context().get_node_id()
        stay = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=True)
        self.letters = self.ray.remote(_Letters).options(num_cpus=0, scheduling_strategy=stay).remote()
        self.task = self.ray.remote(_carry).options(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)
        there = self.ray.cluster_resources()
        counts = [int(there.get("CPU", 0) // threads), *([int(there.get("GPU", 0) // gpus)] if gpus else [])]
        if not min(counts):
            wanted = f"{threads} CPU threads{' and a GPU' if gpus else ''}"
            raise ExecutorError(f"The Ray cluster does not have the {wanted} that an attack needs.", "Add a node.")
        self.width = min(counts)

    def map(self, function: Function[Item, Result], items: Iterable[Item], listener: Listener) -> list[Result]:
        """Return what ``function`` gives for each item."""
        code, carried = self._sent(function)
        tasks = [self.task.remote(code, item, self.threads, self.letters, *carried) for item in items]
        pending = list(tasks)
        try:
            while pending:
                done, pending = self.ray.wait(pending, timeout=POLL)
                self._pass_on(listener)
                self._results(done)
        except BaseException:
            self._stop(pending)
            raise
        self._pass_on(listener)
        return self._results(tasks)

    def _sent(self, function: Function[Item, Result]) -> tuple[Any, list[Any]]:
        """Return a function without what it carries, and references to that in the object store."""
        if not isinstance(function, partial):
            return function, []
        return partial(function.func, **function.keywords), [self._put(part) for part in function.args]

    def _put(self, part: Any) -> Any:
        """Return a reference; what was put before, such as the checkpoints, is not put again."""
        if id(part) not in self.held:
            self.held[id(part)] = part, self.ray.put(part)  # held, so that no other object gets its id
        return self.held[id(part)][1]

    def _results(self, tasks: list[Any]) -> list[Any]:
        errors = self.ray.exceptions
        try:
            return list(self.ray.get(tasks))
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            first = next(iter(str(error).splitlines()), "")
            raise ExecutorError(f"Ray lost a worker too often ({first}).", "Run the same command to resume.") from None

    def _pass_on(self, listener: Listener) -> None:
        try:
            events = self.ray.get(self.letters.take.remote())
        except self.ray.exceptions.RayError:  # their events are lost, not their work
            return
        for event in events:
            listener(event)

    def _stop(self, pending: list[Any]) -> None:
        """Have the workers save their states."""
        for task in pending:
            self.ray.cancel(task, force=False)
        if pending:
            self.ray.wait(pending, num_returns=len(pending), timeout=PARTING)


class _Letters:
    """Collects the workers' events until they are read."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def tell(self, event: Event) -> None:
        self.events.append(event)

    def take(self) -> list[Event]:
        events, self.events = self.events, []
        return events


def _carry(function: Any, item: Any, threads: int, letters: Any, *carried: Any) -> Any:
    """Do one item on a worker; Ray gives what the references in ``carried`` stand for."""
    torch.set_num_threads(threads)
    with exact_numerics():
        return function(*carried, item, throttled(letters.tell.remote, time.monotonic))
