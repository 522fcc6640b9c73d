"""Where a scan works: its run folder, locked against other processes, and what it works with."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..events import Event, Listener
from ..machine.choose import open_executor
from ..machine.clock import Deadline
from ..machine.means import Limits, Means
from ..machine.memory import ceiling
from ..run.store import Store
from .place import run_folder
from .scene import Scene

ATTACKING = 0.95
"""Share of ``--max-time`` in which attacks are to end; what takes longer than foreseen is given up when time is up.
The rest is for matching and the reports."""


@contextmanager
def workplace(scene: Scene, end: Deadline, listener: Listener) -> Iterator[tuple[Store, Means]]:
    """Give the run folder of a scan and the means to work in it, within the limits of its request.

    Args:
        scene: What is known.
        end: When the whole scan is to be over.
        listener: Hears every event; the run folder's log gets all but single steps.

    Raises:
        LockError: Another process works in the run folder.
        StoreError: The run folder cannot be used.
        ExecutorError: The executor cannot be reached.
    """
    request, device = scene.request, scene.victim.like.device
    store = Store(run_folder(scene))
    limits = Limits(end.part(ATTACKING), end, request.max_memory, request.tf32)
    with (
        store.held(),
        open_executor(request.executor, device) as executor,  # processes that it starts have their own limits
        ceiling(device, request.max_memory),
    ):
        told = _logged(listener, store)
        if count := store.foreign():
            which = "A saved state was" if count == 1 else f"{count} saved states were"
            told(Event("warning", f"{which} not written by you on this machine; that work begins anew."))
        yield store, Means(told, executor, limits)


def _logged(listener: Listener, store: Store) -> Listener:
    def both(event: Event) -> None:
        listener(event)
        if not event.step:
            store.log(event)

    return both
