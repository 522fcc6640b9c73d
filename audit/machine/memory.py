"""Memory: the peak of a stretch of work, what is in use, and what is left."""

import contextlib
import ctypes
import math
import os
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import torch

from ... import MemauditError

LIMITS = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
"""Files of a control group, versions 2 and 1."""


M_MMAP_THRESHOLD = -3
"""As in malloc.h."""

LEAN, SPACIOUS = 2**18, 2**25
"""Bytes from which the C library asks the kernel for a block of its own: where memory is scarce, and its own most."""

HUGE = 2**62
"""Bytes; more than any machine has."""


class PeakMemory:
    """Peak bytes since it was made: allocated on a CUDA device, resident in the process on the CPU.

    On Linux the kernel's high-water mark is reset at the start, so that each stretch is measured by itself; where
    that is not allowed the value is the peak of the whole process.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return

    def bytes(self) -> int:
        """Return the peak so far."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return _status("VmHWM") or _largest()


def room(device: torch.device, limit: float | None) -> float:
    """Return how many more bytes may be used on ``device``: what ``limit`` in all leaves, at most what is free.

    Infinity without a limit: then plans are a property of the machine, not of what is free at the moment, and what does
    not fit after all continues with a smaller one.
    """
    if limit is None:
        return math.inf
    trim()
    return max(min(available(device), limit - in_use(device)), 0)


def check_memory(device: torch.device, limit: float | None) -> None:
    """Refuse a limit that is spent before any work. Raises :class:`memaudit.MemauditError`."""
    trim()
    if limit is not None and limit <= (used := in_use(device)):
        raise MemauditError(
            f"--max-memory {int(limit)} is too little: the process takes {used / 1e6:.0f} MB before any work.",
            "Raise it.",
        )


@contextlib.contextmanager
def ceiling(device: torch.device, limit: float | None) -> Iterator[None]:
    """Have allocations fail that would bring the process beyond ``limit`` bytes in all.

    On Linux and the CPU; elsewhere, and without a limit, nothing is done: a CUDA device has :func:`room` only. The
    kernel counts address space, from what there is when the block begins. Holes between blocks in use are given out
    without asking it: the limit holds best in a process that did little before. Where several blocks are active, in
    threads or one in another, the lowest limit holds; one that the process has already is kept. From here on memory is
    used :func:`lean <trim>`.
    """
    if limit is None or device.type == "cuda" or _status("VmData") is None:
        yield
        return
    trim(lean=True)
    _CEILINGS.add(limit)
    try:
        yield
    finally:
        _CEILINGS.remove(limit)


def settle() -> None:
    """After memory ran out: continue :func:`lean <trim>`, and count again what :func:`ceiling` leaves."""
    trim(lean=True)
    _CEILINGS.renew()


class _Ceilings:
    """The limits that are active in this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active: list[float] = []
        self.before = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    def add(self, limit: float) -> None:
        """Add a limit."""
        with self.lock:
            if not self.active:
                self.before = resource.getrlimit(resource.RLIMIT_DATA)
            self.active.append(limit)
            self._apply()

    def remove(self, limit: float) -> None:
        """Remove a limit; after the last one the process has its own again."""
        with self.lock:
            self.active.remove(limit)
            self._apply()
            if not self.active:
                resource.setrlimit(resource.RLIMIT_DATA, self.before)

    def renew(self) -> None:
        """Apply the lowest limit again, to what is in use now."""
        with self.lock:
            self._apply()

    def _apply(self) -> None:
        if not self.active:
            return
        left = max(int(min(*self.active, HUGE)) - in_use(torch.device("cpu")) - _holes(), 0)
        finite = [value for value in self.before if value != resource.RLIM_INFINITY]
        most = min((_status("VmData") or 0) + left, *finite, HUGE)
        resource.setrlimit(resource.RLIMIT_DATA, (most, self.before[1]))


_CEILINGS = _Ceilings()


def trim(lean: bool | None = None) -> None:
    """Give freed memory back that the C library keeps, so that it does not count as used.

    Args:
        lean: Whether tensors get memory of their own from the kernel from here on, which leaves no holes between them
            when they are freed, and costs time; ``None`` to leave that as it is.
    """
    with contextlib.suppress(OSError, AttributeError):  # another system, or another C library
        library = ctypes.CDLL("libc.so.6")
        if lean is not None:
            library.mallopt(M_MMAP_THRESHOLD, LEAN if lean else SPACIOUS)
        library.malloc_trim(0)


class _Mallinfo(ctypes.Structure):
    """What mallinfo2 of glibc returns."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    ))  # fmt: skip


def _holes() -> int:
    """Return the free bytes between blocks in use, which the C library can give out without asking the kernel."""
    try:
        told = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):
        return 0
    told.restype = _Mallinfo
    return int(told().fordblks)


def _status(name: str) -> int | None:
    """Return a line of the kernel's account of this process, in bytes; ``None`` on another system."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024
    except (OSError, StopIteration):
        return None


def _largest() -> int:
    """Return the most bytes that were ever resident."""
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def in_use(device: torch.device) -> int:
    """Return the bytes in use: those of tensors on a CUDA device, the process's own memory on the CPU.

    Pages of files, such as the code of torch's libraries, are not counted: the kernel can reclaim them at any time.
    """
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return _status("RssAnon") or _largest()


def available(device: torch.device) -> float:
    """Return the bytes that could be had now: of a CUDA device, or of the machine and this process's control group."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    except (OSError, StopIteration):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    mount = Path("/sys/fs/cgroup")
    return min(free, group_room(mount, _group("0::")), group_room(mount / "memory", _group(":memory:")))


def _group(marker: str) -> str:
    """Return the path of this process's control group below the mount, empty if unknown.

    Args:
        marker: What stands before it: ``0::`` in version 2, ``:memory:`` in version 1.
    """
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(marker)[2] for line in lines if marker in line), "").strip("/")


def group_room(root: Path, group: str) -> float:
    """Return the bytes that the limits of a control group and of those above it leave; infinity for no limit.

    Args:
        root: Where control groups are mounted.
        group: Path of the group below it.
    """
    folders = [root.joinpath(*Path(group).parts[:depth]) for depth in range(len(Path(group).parts) + 1)]
    return min(map(_left, folders))


def _left(folder: Path) -> float:
    return min(_allowed(folder, *names) for names in LIMITS)


def _allowed(folder: Path, limit_name: str, used_name: str) -> float:
    try:
        limit = (folder / limit_name).read_text().strip()
        used = int((folder / used_name).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return math.inf
    # The kernel gives pages of files back when memory is asked for.
    files = sum(int(stat.get(name, 0)) for name in ("inactive_file", "active_file"))
    return math.inf if limit == "max" else int(limit) - used + files
