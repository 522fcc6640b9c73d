"""The run folder: states of unfinished work, outcomes of finished work, pictures and reports.

::

    RUN/report.json report.html          written by the formats
    RUN/evidence/*.png                   reconstructions and their matched originals
    RUN/jobs/KEY/state.safetensors       one attack on one recipe with one seed, resumable
    RUN/events.jsonl                     what happened, one JSON object per line
    RUN/lock                             locked while a process works here (:mod:`.lock`)

A job's key hashes everything its result depends on. The same question finds its own state again, so resuming needs
no option; another question never meets a foreign state. Files are written beside their place and renamed into it.

The folder may come from a stranger: no link in it is followed, and a state that this user did not seal (:mod:`.seal`)
counts as none.
"""

import errno
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ... import MemauditError
from ...attacks.contract.attack import Attack, State
from ...attacks.contract.recipe import Recipe
from ..events import Event
from ..files import FREE, PART, opened_folder, own_file, refuse_foreign, replacing, shown
from ..machine.lock import NAME as LOCK
from ..machine.lock import locked
from .seal import BLANK, genuine, job_secret, metadata, seal

LOG, JOBS, STATE = "events.jsonl", "jobs", "state.safetensors"

OURS = (LOCK, LOG, "report.json", "report.html", JOBS, "evidence", "report-evidence")
"""What memaudit writes into a run folder, and a stranger may have written in its place."""

LEFTOVERS = re.compile(PART)
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
            with opened_folder(folder, make=0o777):
                pass
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
            FormatError: Something of what memaudit writes here is a link, or belongs to another user.
        """
        refuse_foreign(self.folder, OURS)
        with locked(self.folder):
            for place in ((), *((JOBS, name) for name in self._jobs())):
                self._clear(*place)
            yield

    def _jobs(self) -> list[str]:
        folder = self.folder / JOBS
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def _clear(self, *below: str) -> None:
        with opened_folder(self.folder, *below) as place:
            for name in os.listdir(self.folder.joinpath(*below)):
                if LEFTOVERS.fullmatch(name):
                    os.unlink(name, dir_fd=place)

    def log(self, event: Event) -> None:
        """Append an event to the run's log with the time (seconds since 1970), whole or not at all."""
        path = self.folder / LOG
        line = (json.dumps({"time": round(time.time(), 3), **asdict(event)}) + "\n").encode()
        try:
            with open(own_file(self.folder, LOG, os.O_WRONLY | os.O_APPEND), "ab", buffering=0) as log:
                end = log.seek(0, os.SEEK_END)
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
        return Job(self.folder, job_key)

    def foreign(self) -> int:
        """Return how many states are there that this user did not seal, damaged ones apart."""
        return sum(self.job(name).foreign for name in self._jobs())


class Job:
    """The saved state of one attack run."""

    def __init__(self, folder: Path, job_key: str) -> None:
        self.folder = folder.absolute()
        self.key = job_key
        self.secret = job_secret(job_key)

    @property
    def path(self) -> Path:
        """The state's file."""
        return self.folder / JOBS / self.key / STATE

    @property
    def begun(self) -> bool:
        """Whether there is a state to go on from."""
        with self._opened() as file:
            return file is not None and genuine(file, self.secret)

    @property
    def foreign(self) -> bool:
        """Whether there is a state that this user did not seal, or that was changed since."""
        with self._opened() as file:
            return file is not None and not genuine(file, self.secret)

    def save(self, state: State, extra: Mapping[str, Any]) -> None:
        """Save ``state`` and plain data beside it, in one file that appears whole or not at all."""
        groups = {"variables": state.variables, "constants": state.constants, "memory": state.memory}
        tensors = {
            f"{group}.{name}": tensor.detach().cpu().contiguous()
            for group, members in groups.items()
            for name, tensor in members.items()
        }
        plain = {"step": state.step, "loss": state.loss, "terms": dict(state.terms), "done": state.done, "extra": extra}
        plain["order"] = list(tensors)  # sums over tensors are taken in their order, and a file sorts them
        try:
            with replacing(self.folder, JOBS, self.key, STATE, private=True) as file:
                about = {"state": json.dumps(plain), **BLANK}
                file.write(save(_unshared(tensors), metadata=about))
                seal(file, self.secret)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"The state {shown(self.path)} cannot be written ({error}).", FREE) from None

    def load(self, like: Tensor) -> tuple[State, dict[str, Any]] | None:
        """Return the saved state with its tensors on the device of ``like``, and the plain data.

        ``None`` if there is none, or none that this user has sealed: nothing in it is believed then.

        Raises:
            StoreError: It is damaged.
        """
        groups: dict[str, dict[str, Tensor]] = {"variables": {}, "constants": {}, "memory": {}}
        with self._opened() as file:
            if file is None:
                return None
            try:
                plain = _plain(metadata(file)["state"])
                if not genuine(file, self.secret):
                    return None
                file.seek(0)
                tensors = load(file.read())
                for name in plain["order"]:
                    group, member = name.split(".", 1)
                    # A clone is aligned as a fresh tensor is: the same bits go on to give the same bits.
                    device = "cpu" if group == "constants" else like.device
                    groups[group][member] = tensors[name].clone().to(device)
            except Exception:  # damaged bytes fail in any way
                raise self._damaged() from None
        state = State(step=plain["step"], loss=plain["loss"], terms=plain["terms"], done=plain["done"], **groups)
        return state, plain["extra"]

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO | None]:
        """Give the state's file, ``None`` where there is none."""
        try:
            with opened_folder(self.folder, JOBS, self.key) as place:
                handle = os.open(STATE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
        except FileNotFoundError:
            yield None
            return
        except OSError:
            raise self._damaged() from None
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise self._damaged()
            yield file

    def _damaged(self) -> StoreError:
        return StoreError(f"The saved state {shown(self.path)} is damaged.", "Delete it, then run the same command.")


def _plain(text: str) -> dict[str, Any]:
    """Return the plain data of a state. Raises an error where a value is of another kind than any state's."""
    found = json.loads(text, parse_int=_whole)
    kinds = {"step": int, "loss": float, "terms": dict, "done": bool, "extra": dict, "order": list}
    extra = {"seconds": float, "peak_bytes": int, "curve": list, "diverged": bool, "taken": float, "ended": bool}
    for table, wanted in ((found, kinds), (found["extra"], extra)):
        for name, kind in wanted.items():
            if (table is found or name in table) and not _is(table[name], kind):
                raise ValueError(name)
    if found["step"] < 0 or not all(_is(value, float) for value in found["terms"].values()):
        raise ValueError("step or terms")
    if not all(len(point) == 2 and _is(point[0], int) for point in found["extra"].get("curve", ())):
        raise ValueError("curve")
    return dict(found)


def _whole(text: str) -> int:
    if abs(number := int(text)) >= 2**63:
        raise ValueError("too large")
    return number


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or kind is not float:
        return isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    return isinstance(value, int | float)


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
