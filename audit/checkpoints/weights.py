"""The tensors that lie in checkpoint files, found and unwrapped but not yet judged; nothing in a file is ever executed.

Safetensors files are mapped by their library; torch files pass ``torch.load(weights_only=True)`` or are refused.
"""

import gc
import hashlib
import json
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from mmap import ACCESS_READ
from mmap import mmap as mapped
from pathlib import Path, PurePosixPath
from typing import TypeVar

import torch
from safetensors import safe_open
from torch import Tensor

from ... import MemauditError
from ..files import read_regular
from ..plugins import one_line
from .archive import check_archive
from .calls import Excess, Foreign
from .program import check_program

WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "module", "params", "weights"),
    *("ema_state_dict", "model_ema", "ema"),  # last: an average only counts where the weights themselves are absent
)
"""Keys under which training scripts put the state dict, in the order in which they are tried."""

_LARGEST_INDEX = 2**26
"""Bytes of the list of shards: enough for half a million tensors."""

_Stored = TypeVar("_Stored")

_LONGEST = 200
"""Characters of a name in a message."""

_OLD = 5
"""Pickles in the format before version 1.6: a mark, a version, a machine, what was saved, and keys of storages."""

_AGAIN = "Copy, download or save the file again."
_WEIGHTS_ONLY = (
    "Load it where it was made and save the weights alone, for example with "
    'safetensors.torch.save_file(model.state_dict(), "model.safetensors").'
)


class CheckpointError(MemauditError):
    """A checkpoint is missing, damaged, unsafe to open, or does not match its partner; the message names the file."""


def load(source: Path) -> tuple[str, list[Path], dict[str, Tensor]]:
    """Return the format, the files read and the tensors by name, just as they are in the files.

    The format is ``safetensors``, ``sharded safetensors`` or ``torch``.

    Raises:
        CheckpointError: Damaged, unsafe, or without weights.
        OSError: A file cannot be opened.
    """
    _check_name(source)
    file = _weights_in(source) if source.is_dir() else source
    _check_file(file)
    if file.name.endswith(".bin.index.json"):
        raise CheckpointError(f"{file} is an index of PyTorch shards, which memaudit does not read.", _WEIGHTS_ONLY)
    if file.name.endswith(".index.json"):
        return "sharded safetensors", *_load_shards(file)
    if file.suffix == ".safetensors":
        return "safetensors", [file], _holding_weights(file, _load_safetensors(file))
    return "torch", [file], _holding_weights(file, unpack(file))


def examine(file: Path) -> tuple[str, list[Path], Mapping[str, Tensor]]:
    """Return the same of a file that need not hold weights, such as an optimizer's state: then it has no tensors.

    Raises:
        CheckpointError: Damaged, or unsafe.
        OSError: It cannot be opened.
    """
    if file.name.lower().endswith((".safetensors", ".index.json")):
        return load(file)
    _check_name(file)
    _check_file(file)
    return "torch", [file], _state_dict(unpack(file)) or {}


def _weights_in(folder: Path) -> Path:
    for pattern in ("model.safetensors", "*.safetensors.index.json", "*.safetensors", "pytorch_model.bin"):
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            names = quoted([file.name for file in found])
            raise CheckpointError(f"The folder {folder} holds several checkpoints: {names}.", "Pass one of the files.")
        if found:
            return found[0]
    raise CheckpointError(
        f"The folder {folder} holds no weights.",
        "It should contain model.safetensors, a *.safetensors.index.json with its shards, or pytorch_model.bin.",
    )


def _check_name(source: Path) -> None:
    try:
        str(source).encode()
    except UnicodeEncodeError:
        raise CheckpointError(f"The path {str(source)!r} is not UTF-8.", "Rename the file or its folder.") from None


def _check_file(file: Path) -> None:
    if not file.is_file():
        raise CheckpointError(f"{file} is not a file.", "Pass a checkpoint file or a folder that holds one.")
    with file.open("rb") as stream:
        head = stream.read(32)
    if not head:
        raise CheckpointError(f"{file} is empty.", _AGAIN)
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{file} is a git-LFS pointer, not the weights themselves.", "Run `git lfs pull` first.")


def _load_safetensors(file: Path, names: Collection[str] | None = None) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt", device="cpu") as content:
            present = list(content.keys())
            return {name: content.get_tensor(name) for name in present if names is None or name in names}
    except Exception as error:  # damaged bytes may fail in any way
        raise CheckpointError(
            f"{file} is a damaged or truncated safetensors file ({one_line(error)}).", _AGAIN
        ) from error


def _load_shards(index: Path) -> tuple[list[Path], dict[str, Tensor]]:
    try:
        shards = dict(json.loads(read_regular(index, _LARGEST_INDEX))["weight_map"])
    except Exception as error:  # damaged bytes may fail in any way
        raise CheckpointError(f"{index} is not a shard index ({one_line(error)}).", _AGAIN) from error
    names_of: dict[str, list[str]] = {}
    for name, shard in shards.items():
        names_of.setdefault(str(shard), []).append(name)
    files, tensors = [index], dict[str, Tensor]()
    for shard, names in names_of.items():
        files.append(_shard(index, shard))
        tensors |= _load_safetensors(files[-1], set(names))
        if missing := [name for name in names if name not in tensors]:
            raise CheckpointError(
                f"The shard {files[-1]} lacks {quoted(missing)}, which {index.name} promises.", _AGAIN
            )
    return files, _holding_weights(index, tensors)


def _shard(index: Path, name: str) -> Path:
    """Return the path of a shard; an index must not lead us to a file outside its own folder."""
    file = index.parent / name
    unsafe = PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name
    if unsafe or not _resolved(file).is_relative_to(index.parent.resolve()):
        raise CheckpointError(
            f"{index} names the shard {name!r}, which lies outside its folder.",
            "Put the shards themselves, not links to them, next to the index.",
        )
    if not file.is_file():
        raise CheckpointError(f"The shard {name!r} that {index} names is missing.", _AGAIN)
    _check_file(file)
    return file


def _resolved(file: Path) -> Path:
    try:
        return file.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or a name that no file can have
        reason = "it is a loop of links, or no file can have such a name"
        raise CheckpointError(f"The shard {quoted([file.name])} cannot be found: {reason}.", _AGAIN) from error


def unpack(file: Path, mmap: bool = False) -> object:
    """Return what a torch file holds, whatever that is; nothing in it is executed.

    Args:
        file: As ``torch.save`` wrote it.
        mmap: Leave tensors in the file until they are used; such a file must be an archive.

    Raises:
        CheckpointError: Damaged, or unsafe.
        OSError: It cannot be opened.
    """
    try:
        with _uncollected(), warnings.catch_warnings(action="ignore"):  # of old formats, which no user can act on
            _check_costs(file)
            return torch.load(file, map_location=_as_read, weights_only=True, mmap=mmap)
    except (FileNotFoundError, PermissionError, CheckpointError):
        raise
    except Excess as error:
        raise CheckpointError(f"{file} {error}.", _WEIGHTS_ONLY) from error
    except Exception as error:  # damaged bytes may fail in any way
        raise _refusal(file, error) from error


def _as_read(storage: _Stored, place: str) -> _Stored:
    """Leave a storage in memory, wherever it was saved from: quicker than naming the device for each of thousands."""
    return storage


@contextmanager
def _uncollected() -> Iterator[None]:
    """Make many objects without looking for cycles among them again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _check_costs(file: Path) -> None:
    """Follow what loading a torch file would do, on stand-ins. Raises :class:`Excess`, and others if it is damaged."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(4)
        if head == b"PK\3\4":
            sizes = check_archive(file)
            pickle = torch._C.PyTorchFileReader(str(file)).get_record("data.pkl")
            for key, count in check_program(pickle, size).items():
                if count > sizes.get(f"data/{key}", 0):
                    raise Excess("claims larger tensors than there are bytes in it")
        elif head.startswith(b"\x80"):
            with mapped(stream.fileno(), 0, access=ACCESS_READ) as content:
                check_program(content, size, count=_OLD)
        else:
            raise CheckpointError(
                f"{file} is not a checkpoint.", "Pass a .safetensors file or one that torch.save wrote."
            )


def _refusal(file: Path, error: Exception) -> CheckpointError:
    blocked = {str(error)} if isinstance(error, Foreign) else set(re.findall(r"GLOBAL ([\w.]+)", str(error)))
    with suppress(Exception):  # names all of them, but only in undamaged files of one of the two torch formats
        blocked |= set(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    if blocked:
        return CheckpointError(
            f"{file} holds more than tensors: it would run {quoted(sorted(blocked))}, which memaudit never does.",
            _WEIGHTS_ONLY,
        )
    reason = re.search(r"WeightsUnpickler error:\s*(\S.*)", str(error))  # the rest of the text advises unsafe loading
    if reason:
        return CheckpointError(f"{file} is not a file of plain tensors ({reason[1].strip()[:200]!r}).", _WEIGHTS_ONLY)
    return CheckpointError(f"{file} is damaged or truncated ({one_line(error)}).", _AGAIN)


def _holding_weights(file: Path, loaded: object) -> dict[str, Tensor]:
    if (tensors := _state_dict(loaded)) is not None:
        return tensors
    found = quoted([str(key) for key in loaded]) if isinstance(loaded, Mapping) else f"a {type(loaded).__name__}"
    raise CheckpointError(f"{file} holds no state dict, only {found or 'an empty one'}.", _WEIGHTS_ONLY)


def _state_dict(loaded: object) -> dict[str, Tensor] | None:
    """Return the first state dict in ``loaded``, outermost wrapper first; cycles and any depth are harmless."""
    stack, seen = [loaded], set[int]()
    while stack:
        node = stack.pop()
        if not isinstance(node, Mapping) or id(node) in seen:
            continue
        seen.add(id(node))
        inner = [node[key] for key in WRAPPERS if isinstance(node.get(key), Mapping)]
        tensors = {key: value for key, value in node.items() if isinstance(key, str) and isinstance(value, Tensor)}
        if not inner and any(value.ndim for value in tensors.values()):
            return tensors
        stack.extend(reversed(inner))
    return None


def digest(files: Collection[Path]) -> str:
    """Return the SHA-256 of one file or, of several, that of the lines ``sha256sum`` prints for them in name order."""
    lines = sorted((file.name, _sha256(file)) for file in files)
    if len(lines) == 1:
        return lines[0][1]
    return hashlib.sha256("".join(f"{value}  {name}\n" for name, value in lines).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def quoted(names: Collection[str]) -> str:
    """Return up to three names, escaped and in quotes, and how many more there are."""
    shown = ", ".join(repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…") for name in list(names)[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
