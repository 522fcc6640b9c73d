"""Every file in a folder, to be looked at: what may be a checkpoint, by its name or by how it begins, and the rest."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

from .weights import CheckpointError

ENDINGS = (".safetensors", ".index.json", ".pt", ".pth", ".bin", ".ckpt", ".th", ".pkl", ".pickle")
"""Of names that checkpoints have, whatever is in the files."""

MOST_FILES = 10_000
"""In one folder and those below it."""


@dataclass
class Content:
    """The files of a folder.

    Attributes:
        checkpoints: What may be a checkpoint.
        others: What is none.
        closed: What cannot be looked at: a pipe, a device, a link that leads nowhere or to a folder.
    """

    checkpoints: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    closed: list[Path] = field(default_factory=list)


def look_into(folder: Path) -> Content:
    """Sort the files of a folder and of those below it, by name; links to folders are not followed.

    Raises:
        CheckpointError: There are too many files.
        OSError: A folder cannot be read.
    """
    found = Content()
    for count, file in enumerate(_files(folder)):
        if count >= MOST_FILES:
            raise CheckpointError(
                f"The folder {folder} holds more than {MOST_FILES:,} files.", "Name the checkpoints in it."
            )
        if not file.is_file():
            found.closed.append(file)
        elif file.name.lower().endswith(ENDINGS) or _begins_like_one(file):
            found.checkpoints.append(file)
        else:
            found.others.append(file)
    return found


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, onerror=_raise):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        yield from (Path(place, name) for name in sorted([*names, *links]))


def _raise(error: OSError) -> None:
    raise error


def _begins_like_one(file: Path) -> bool:
    with file.open("rb") as stream:
        head = stream.read(4)
    if head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5":
        return True
    try:
        return head == b"PK\3\4" and any(name.lower().endswith("data.pkl") for name in ZipFile(file).namelist())
    except Exception:  # no archive
        return False
