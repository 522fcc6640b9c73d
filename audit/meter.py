"""Peak memory of a stretch of work."""

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
