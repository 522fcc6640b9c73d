"""What the files and the installation hold, without any run: the inspect and plugins commands."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from ...attacks.images.normalisation import PLAIN
from .. import outputs, plugins
from ..change.facts import read_delta
from ..change.ladders import ladders
from ..checkpoints.folder import look_into
from ..checkpoints.pair import Checkpoint, CheckpointPair, check_key, read, read_pair
from ..checkpoints.weights import CheckpointError, Loaded, digest, examine, load
from ..data.base import GROUP as DATA
from ..families.base import GROUP as FAMILIES
from ..families.base import Architecture, UnknownArchitecture
from ..families.beside import Beside, read_beside
from ..families.detect import detect
from ..families.lora import network, own_names
from ..families.media import medium_of
from ..families.victim import victim
from ..run import options
from ..run.cards import GROUP as ATTACKS
from ..scoring.kind import GROUP as KINDS
from ..scoring.kind import known_kinds

Find = Callable[[str, int | None, Beside], tuple[Architecture, nn.Module]]
"""Finds the network of what was read."""

GROUPS = {"attacks": ATTACKS, "families": FAMILIES, "data": DATA, "kinds": KINDS, "reports": outputs.GROUP}


def inspect(
    before: str, after: str | None, model: str = "auto", image_size: int | None = None, key: str = ""
) -> dict[str, Any]:
    """Describe one checkpoint or a pair as plain data. Raises :class:`MemauditError` for unreadable files."""
    if after is None:
        first, beside = read(before, key), read_beside(before)
        check_key(key, first)
        found = _recognised(partial(detect, first.tensors), model, image_size, beside)
        made = list(ladders(first.tensors))
        return {"before": _file(first), "architecture": _architecture(*found[::2]), "ladders": made}
    beside = read_beside(after, before)
    pair = read_pair(before, after, key, partial(own_names, model, image_size, beside))
    architecture, module, problem = _recognised(partial(network, pair), model, image_size, beside)
    make = None
    if architecture and module:
        architecture, medium = medium_of(pair, architecture, module, beside, PLAIN)
        make = partial(victim, pair, architecture, module, medium)
    delta = read_delta(pair, architecture, make)
    return {
        "before": _file(pair.before),
        "after": _file(pair.after),
        "architecture": _architecture(architecture, problem),
        "moved": len(pair.moved),
        "fresh": sorted(pair.fresh - pair.starts),
        "lora": _lora(pair),
        "dropped": list(pair.dropped),
        "tensors": [row.model_dump(mode="json") for row in delta.tensors],
        "delta": {name: fact.model_dump(mode="json") for name, fact in delta.readings.items()},
    }


def check_each(paths: Sequence[str]) -> tuple[list[dict[str, Any]], list[CheckpointError]]:
    """Load files by the loader that executes nothing: describe those that it reads, and say why not the others.

    Of a folder, every file is looked at: beside weights in one format there may be a payload in another. What is no
    checkpoint is named with the format ``None``; there, a file without weights, such as an optimizer's state, is none
    to complain about.
    """
    found: list[dict[str, Any]] = []
    errors: list[CheckpointError] = []
    for path in paths:
        with _noting(errors, path):
            if not Path(path).is_dir():
                found.append(_loaded(path, load(Path(path))))
                continue
            content = look_into(Path(path))
            for file in content.checkpoints:
                with _noting(errors, str(file)):
                    found.append(_loaded(str(file), examine(file)))
            errors += _closed(content.closed, errors)
            found += [{"path": str(file), "format": None, "sha256": None, "tensors": 0} for file in content.others]
            if not content.checkpoints:
                raise CheckpointError(f"The folder {path} holds no weights.", "Name a folder with checkpoints in it.")
    return found, errors


def _closed(files: Sequence[Path], errors: Sequence[CheckpointError]) -> list[CheckpointError]:
    """Return an error for each thing that is no file, unless the index that names it has been complained about."""
    return [
        CheckpointError(
            f"{file} is a pipe, a device, or a link to no file.", "Remove it, or name the files to look at."
        )
        for file in files
        if not any(f"shard {file.name!r}" in error.message for error in errors)
    ]


@contextmanager
def _noting(errors: list[CheckpointError], path: str) -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        errors.append(error)
    except OSError as error:
        errors.append(CheckpointError(f"{path} cannot be read: {error.strerror or error}.", "Check the path."))


def _loaded(path: str, found: Loaded) -> dict[str, Any]:
    return {"path": path, "format": found.format, "sha256": digest(found.files), "tensors": len(found.tensors)}


def _file(found: Checkpoint) -> dict[str, Any]:
    return {
        "path": found.path,
        "format": found.format,
        "sha256": found.sha256,
        "dtypes": list(found.dtypes),
        "tensors": len(found.tensors),
        "parameters": sum(value.numel() for value in found.tensors.values() if value.is_floating_point()),
        "aside": list(found.aside),
        "key": found.key,
    }


def _recognised(
    find: Find, model: str, image_size: int | None, beside: Beside
) -> tuple[Architecture | None, nn.Module | None, str]:
    """Return the network, or what is wrong where the user did not name one."""
    try:
        return *find(model, image_size, beside), ""
    except UnknownArchitecture as error:
        if model != "auto" or image_size is not None:
            raise
        return None, None, str(error)


def _lora(pair: CheckpointPair) -> dict[str, Any] | None:
    """Return how many layers an adapter adapts, with which ranks and scales, and whether its start is known."""
    if not pair.lora:
        return None
    return {
        "layers": len(pair.lora),
        "ranks": sorted({len(pair.after.tensors[name]) for name in pair.downs}),
        "scales": sorted(set(pair.lora.values())),
        "start": "assumed" if pair.starts else "known",
    }


def _architecture(architecture: Architecture | None, problem: str) -> dict[str, Any]:
    if architecture is None:
        return {"family": None, "name": None, "score": None, "problem": problem}
    return {
        "family": architecture.family,
        "name": architecture.name,
        "score": architecture.score,
        "classes": architecture.classes,
        "shape": list(architecture.shape),
        "input": _input(architecture),
        "assumed": list(architecture.assumed),
    }


def _input(architecture: Architecture) -> str:
    """Return what the network takes, in words: ``images 3 x 32 x 32``, ``sentences of up to 21 tokens x 384``."""
    words = next((kind.words for kind in known_kinds() if kind.name == architecture.medium), None)
    first, *rest = (str(size) for size in architecture.shape)
    if words is None or len(rest) != 1:
        return f"{words.many if words else architecture.medium} {' x '.join((first, *rest))}"
    return f"{words.many} of up to {first} {words.axes.partition(',')[0]} x {rest[0]}"


def list_plugins() -> dict[str, list[dict[str, Any]]]:
    """Return every registered plugin by kind; attacks with their options and defaults."""
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, group in GROUPS.items():
        found[kind] = []
        for name in plugins.available(group):
            row: dict[str, Any] = {"name": name}
            try:
                loaded = plugins.load(group, name)
            except plugins.PluginError as error:
                found[kind].append(row | {"problem": str(error)})
                continue
            row["summary"] = (loaded.__doc__ or "").strip().splitlines()[0] if loaded.__doc__ else ""
            if group == ATTACKS:
                row["options"] = [{"name": o, "type": t, "default": d} for o, t, d in options.fields(name)]
            found[kind].append(row)
    return found
