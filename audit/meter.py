"""Memory: the peak of a stretch of work, what is in use, and what there still is."""

import math
import os
import resource
import sys
from pathlib import Path

import torch


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
        try:
            status = Path("/proc/self/status").read_text()
            return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024
        except (OSError, StopIteration):
            scale = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def room(device: torch.device, limit: float | None) -> float:
    """Return how many more bytes may be used on ``device``: what ``limit`` in all leaves, at most what is free.

    Infinity without a limit: then plans are a property of the machine, not of what is free at the moment, and what does
    not fit after all goes on with a smaller one.
    """
    if limit is None:
        return math.inf
    return max(min(available(device), limit - in_use(device)), 0)


def in_use(device: torch.device) -> int:
    """Return the bytes in use: those of tensors on a CUDA device, those resident in the process on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return PeakMemory(device).bytes()


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
    return min(free, group_room(Path("/sys/fs/cgroup"), _group()))


def _group() -> str:
    """Return the path of this process's control group (version 2) below the mount, empty if unknown."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    return next((line[3:] for line in lines if line.startswith("0::")), "").strip("/")


def group_room(root: Path, group: str) -> float:
    """Return the bytes that the limits of a control group and of those above it leave; infinity for no limit.

    Args:
        root: Where control groups are mounted.
        group: Path of the group below it.
    """
    folders = [root.joinpath(*Path(group).parts[:depth]) for depth in range(len(Path(group).parts) + 1)]
    return min(map(_left, folders))


def _left(folder: Path) -> float:
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return math.inf
    # The kernel gives pages of files back when memory is asked for.
    files = sum(int(stat.get(name, 0)) for name in ("inactive_file", "active_file"))
    return math.inf if limit == "max" else int(limit) - used + files
