"""The tensors that lie in checkpoint files, found and unwrapped but not yet judged; nothing in a file is ever executed.

Safetensors files are mapped by their library; torch files pass ``torch.load(weights_only=True)`` or are refused.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from safetensors import safe_open
from torch import Tensor

from ..files import read_regular
from ..plugins import one_line
from .arrays import is_npz, load_npz
from .calls import Excess
from .formats import other_file, other_folder
from .nested import at, state_dicts
from .refusal import AGAIN, WEIGHTS_ONLY
from .refusal import CheckpointError as CheckpointError
from .refusal import quoted as quoted
from .unpacking import unpack as unpack

_LARGEST_INDEX = 2**26
"""Bytes of the list of shards: enough for half a million tensors."""


class Loaded(NamedTuple):
    """What was read.

    Attributes:
        format: ``safetensors``, ``torch``, either of them after ``sharded``, or ``npz``.
        files: All that were read.
        tensors: By name, just as they are in the files.
        key: Path of the state dict in a torch file, such as ``trainer/net``; empty where it is the file itself.
    """

    format: str
    files: list[Path]
    tensors: Mapping[str, Tensor]
    key: str = ""


def load(source: Path, key: str = "") -> Loaded:
    """Read the weights in a file, or in a folder that holds one.

    Args:
        source: The file or folder.
        key: Path of the state dict in a torch file, such as ``trainer/net``, where it has one there; else it is looked
            for.

    Raises:
        CheckpointError: Damaged, unsafe, without weights, or with several state dicts.
        OSError: A file cannot be opened.
    """
    _check_name(source)
    file = _weights_in(source) if source.is_dir() else source
    _check_file(file)
    if file.name.endswith(".index.json"):
        form = "torch" if file.name.endswith(".bin.index.json") else "safetensors"
        return Loaded(f"sharded {form}", *_load_shards(file))
    if file.suffix == ".safetensors":
        return Loaded("safetensors", [file], *_holding_weights(file, _load_safetensors(file)))
    if _is_npz(file):
        return Loaded("npz", [file], *_holding_weights(file, _load_npz(file)))
    return Loaded("torch", [file], *_holding_weights(file, unpack(file), key))


def examine(file: Path) -> Loaded:
    """Return the same of a file that need not hold weights, such as an optimizer's state: then it has no tensors.

    Raises:
        CheckpointError: Damaged, or unsafe.
        OSError: It cannot be opened.
    """
    _check_name(file)
    _check_file(file)
    if file.name.lower().endswith((".safetensors", ".index.json")) or _is_npz(file):
        return load(file)
    return Loaded("torch", [file], next(iter(state_dicts(unpack(file)).values()), {}))


def _weights_in(folder: Path) -> Path:
    for pattern in (
        "model.safetensors",
        "*.safetensors.index.json",
        "*.safetensors",
        "pytorch_model.bin",
        "*.bin.index.json",
    ):
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            names = quoted([file.name for file in found])
            raise CheckpointError(f"The folder {folder} holds several checkpoints: {names}.", "Pass one of the files.")
        if found:
            return found[0]
    if other := other_folder(folder):
        raise CheckpointError(f"The folder {folder} holds {other.what}, which memaudit does not read.", other.hint)
    raise CheckpointError(
        f"The folder {folder} holds no weights.",
        "It should contain model.safetensors or pytorch_model.bin, or a *.index.json with its shards.",
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
        raise CheckpointError(f"{file} is empty.", AGAIN)
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{file} is a git-LFS pointer, not the weights themselves.", "Run `git lfs pull` first.")
    if other := other_file(file, head):
        raise CheckpointError(f"{file} is {other.what}, which memaudit does not read.", other.hint)


def _load_safetensors(file: Path, names: Collection[str] | None = None) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt", device="cpu") as content:
            present = list(content.keys())
            return {name: content.get_tensor(name) for name in present if names is None or name in names}
    except Exception as error:  # damaged bytes may fail in any way
        raise CheckpointError(
            f"{file} is a damaged or truncated safetensors file ({one_line(error)}).", AGAIN
        ) from error


def _load_shards(index: Path) -> tuple[list[Path], dict[str, Tensor]]:
    try:
        shards = dict(json.loads(read_regular(index, _LARGEST_INDEX))["weight_map"])
    except Exception as error:  # damaged bytes may fail in any way
        raise CheckpointError(f"{index} is not a shard index ({one_line(error)}).", AGAIN) from error
    names_of: dict[str, list[str]] = {}
    for name, shard in shards.items():
        names_of.setdefault(str(shard), []).append(name)
    files, tensors = [index], dict[str, Tensor]()
    for shard, names in names_of.items():
        files.append(_shard(index, shard))
        tensors |= _load_shard(files[-1], set(names))
        if missing := [name for name in names if name not in tensors]:
            raise CheckpointError(f"The shard {files[-1]} lacks {quoted(missing)}, which {index.name} promises.", AGAIN)
    return files, _holding_weights(index, tensors)[0]


def _load_shard(file: Path, names: Collection[str]) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        return _load_safetensors(file, names)
    return {name: value for name, value in _holding_weights(file, unpack(file))[0].items() if name in names}


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
        raise CheckpointError(f"The shard {name!r} that {index} names is missing.", AGAIN)
    _check_file(file)
    return file


def _resolved(file: Path) -> Path:
    try:
        return file.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or a name that no file can have
        reason = "it is a loop of links, or no file can have such a name"
        raise CheckpointError(f"The shard {quoted([file.name])} cannot be found: {reason}.", AGAIN) from error


def _is_npz(file: Path) -> bool:
    try:
        return is_npz(file)
    except Exception:  # no archive
        return False


def _load_npz(file: Path) -> dict[str, Tensor]:
    try:
        return load_npz(file)
    except Excess as error:
        raise CheckpointError(f"{file} {error}.", "Save plain arrays of numbers by name with numpy.savez.") from error
    except Exception as error:  # damaged bytes may fail in any way
        raise CheckpointError(f"{file} is damaged or truncated ({one_line(error)}).", AGAIN) from error


def _holding_weights(file: Path, loaded: object, key: str = "") -> tuple[dict[str, Tensor], str]:
    """Return the one state dict in what was loaded, and its path."""
    asked = at(loaded, key) if key else None
    found = state_dicts(loaded) if asked is None else {key: asked}
    if len(found) == 1:
        path, tensors = next(iter(found.items()))
        return tensors, path
    if found:
        paths = quoted([path or "the file itself" for path in found])
        raise CheckpointError(f"{file} holds several networks: {paths}.", "Say with --key PATH which one to audit.")
    held = quoted([str(name) for name in loaded]) if isinstance(loaded, Mapping) else f"a {type(loaded).__name__}"
    raise CheckpointError(f"{file} holds no state dict, only {held or 'an empty one'}.", WEIGHTS_ONLY)


def digest(files: Collection[Path]) -> str:
    """Return the SHA-256 of one file or, of several, that of the lines ``sha256sum`` prints for them in name order."""
    lines = sorted((file.name, _sha256(file)) for file in files)
    if len(lines) == 1:
        return lines[0][1]
    return hashlib.sha256("".join(f"{value}  {name}\n" for name, value in lines).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
