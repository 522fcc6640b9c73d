"""The run folder: states of unfinished work, outcomes of finished work, pictures and reports.

::

    RUN/report.json report.html          written by the formats
    RUN/evidence/*.png                   reconstructions and their matched originals
    RUN/jobs/KEY/state.safetensors       one attack on one recipe with one seed, resumable
    RUN/events.jsonl                     what happened, one JSON object per line
    RUN/lock                             locked while a process works here (:mod:`.lock`)

A job's key hashes everything its result depends on. The same question finds its own state again, so resuming needs
no option; another question never meets a foreign state. Files are written beside their place and renamed into it.
"""

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ... import MemauditError
from ...attacks.contract.attack import Attack, State
from ...attacks.contract.recipe import Recipe
from ..events import Event
from ..files import FREE
from ..machine.lock import locked

LEFTOVERS = (".memaudit-*.part", "jobs/*/*.tmp")
"""Files that a killed process had not renamed into their place."""


class StoreError(MemauditError):
    """The run folder cannot be used."""


def key(*parts: Any) -> str:
    """Return a short digest of plain data: the same question gives the same key in every process."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def job_parts(attack: Attack, recipe: Recipe, seed: int) -> Mapping[str, Any]:
    """Return what identifies a job besides the checkpoints, as plain data for :func:`key`."""
    return {"attack": repr(attack), "recipe": repr(recipe), "seed": seed}


class Store:
    """One run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The run folder {folder} cannot be created ({error.strerror}).", "Choose another with --out."
            ) from None
        if not os.access(folder, os.W_OK):
            raise StoreError(f"The run folder {folder} is not writable.", "Choose another with --out.")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out, and clear away what a killed one left half-written.

        Raises:
            LockError: Another process works here.
        """
        with locked(self.folder):
            for path in (path for pattern in LEFTOVERS for path in self.folder.glob(pattern)):
                path.unlink(missing_ok=True)
            yield

    def log(self, event: Event) -> None:
        """Append an event to the run's log, whole or not at all."""
        path, line = self.folder / "events.jsonl", (json.dumps(asdict(event)) + "\n").encode()
        try:
            with path.open("ab", buffering=0) as log:
                end = log.tell()
                try:
                    if log.write(line) < len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except OSError:
                    log.truncate(end)
                    raise
        except OSError as error:
            raise StoreError(f"The log {path} cannot be written ({error.strerror}).", FREE) from None

    def job(self, job_key: str) -> "Job":
        """Return the place of one job; its folder appears with its first state."""
        return Job(self.folder / "jobs" / job_key)


class Job:
    """The saved state of one attack run."""

    def __init__(self, folder: Path) -> None:
        self.path = folder.absolute() / "state.safetensors"

    @property
    def begun(self) -> bool:
        """Whether there is a state."""
        return self.path.exists()

    def save(self, state: State, extra: Mapping[str, Any]) -> None:
        """Save ``state`` and plain data beside it, in one file that appears whole or not at all."""
        groups = {"variables": state.variables, "constants": state.constants, "memory": state.memory}
        tensors = {
            f"{group}.{name}": tensor.detach().cpu().contiguous()
            for group, members in groups.items()
            for name, tensor in members.items()
        }
        plain = {"step": state.step, "loss": state.loss, "terms": dict(state.terms), "done": state.done, "extra": extra}
        beside = self.path.with_suffix(f".{secrets.token_hex(6)}.tmp")
        try:
            self.path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.parent.mkdir(exist_ok=True)
            save_file(_unshared(tensors), beside, metadata={"state": json.dumps(plain)})
            os.replace(beside, self.path)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"The state {self.path} cannot be written ({error}).", FREE) from None
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def load(self, like: Tensor) -> tuple[State, dict[str, Any]] | None:
        """Return the saved state with its tensors on the device of ``like``, and the plain data; ``None`` if absent."""
        if not self.path.exists():
            return None
        groups: dict[str, dict[str, Tensor]] = {"variables": {}, "constants": {}, "memory": {}}
        try:
            with safe_open(self.path, framework="pt") as file:
                plain = json.loads(file.metadata()["state"])
                for name in file.keys():  # noqa: SIM118 - a safe_open handle is not a mapping
                    group, member = name.split(".", 1)
                    # A clone is aligned as a fresh tensor is: the same bits go on to give the same bits.
                    device = "cpu" if group == "constants" else like.device
                    groups[group][member] = file.get_tensor(name).clone().to(device)
        except Exception:  # damaged bytes fail in any way
            raise StoreError(
                f"The saved state {self.path} is damaged.", "Delete it, then run the same command."
            ) from None
        state = State(step=plain["step"], loss=plain["loss"], terms=plain["terms"], done=plain["done"], **groups)
        return state, plain["extra"]


class Place(Protocol):
    """Where the state of an attack on a recipe belongs; ``more`` is what else identifies it."""

    def __call__(self, attack: Attack, recipe: Recipe, *more: str, seed: int) -> Job:
        """Return the place."""
        ...


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return clones of tensors that share memory with an earlier one, as safetensors demands."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        pointer = tensor.data_ptr()
        result[name] = tensor.clone() if pointer in seen else tensor
        seen.add(pointer)
    return result
