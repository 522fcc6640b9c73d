"""What an error ends: one piece of work, which is then told in words, or all of them."""

import torch

from ... import MemauditError
from ...attacks.contract.attack import Unsupported
from ...attacks.simulation.plans import out_of_memory
from ..plugins import one_line

SPREADING = (MemauditError, OSError)
"""Errors that are not the fault of one attack, :class:`Unsupported` apart: unusable files, a full disk, Ctrl-C."""


def failure(error: Exception) -> MemauditError:
    """Return in words why one attack could not be run; the others continue without it.

    Raises:
        MemauditError, OSError: ``error`` itself, where it ends the whole scan.
    """
    if isinstance(error, SPREADING) and not isinstance(error, Unsupported):
        raise error
    return in_words(error)


def in_words(error: Exception) -> MemauditError:
    """Return an error that says in one sentence what happened: the same one if memaudit raised it on purpose."""
    if isinstance(error, MemauditError):
        return error
    torch.cuda.empty_cache()
    if out_of_memory(error):
        return MemauditError("It ran out of memory or reached the --max-memory limit.")
    return MemauditError(f"It failed ({one_line(error)}).")
