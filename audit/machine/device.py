"""The device that the numbers are computed on."""

import torch

from ... import MemauditError


class DeviceError(MemauditError):
    """There is no such device here."""


def pick_device(text: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` names. Raises :class:`DeviceError`."""
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = text.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise DeviceError(f"--device {text} is not a device.", "Use auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"--device {text} is not there: this machine shows {torch.cuda.device_count()} CUDA devices.",
            "Use --device cpu.",
        )
    return torch.device(text)
