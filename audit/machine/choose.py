"""The executor that a user asks for, by name."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .executor import LOCAL, Executor, ExecutorError


def check_executor(spec: str) -> None:
    """Refuse an unknown executor before any work is done. Raises :class:`ExecutorError`."""
    if spec != "local" and spec.partition(":")[0] != "ray":
        raise ExecutorError(f"--executor {spec[:80]} is not known.", "Use local, ray or ray:ADDRESS.")
    if spec != "local":
        from .ray_cluster import check_ray

        check_ray()


@contextmanager
def open_executor(spec: str, device: torch.device) -> Iterator[Executor]:
    """Give an executor of ``local``, ``ray`` or ``ray:ADDRESS`` for as long as the block lasts.

    Args:
        spec: As in ``--executor``.
        device: Of the work; ``local`` takes one process per GPU where it is ``cuda`` and there are several.

    Raises:
        ExecutorError: There is no such executor, or it cannot be reached.
    """
    check_executor(spec)
    threads = torch.get_num_threads()
    if spec != "local":
        from .ray_cluster import ray_cluster

        with ray_cluster(spec.partition(":")[2], threads, gpus=int(device.type == "cuda")) as found:
            yield found
    elif device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1:
        from .processes import Processes

        yield Processes(torch.cuda.device_count(), threads)
    else:
        yield LOCAL
