"""Files that were changed at random: every reader reads them, or refuses them by an error of ours on one line.

A short run each time; ``MEMAUDIT_FUZZ=20000`` makes that many of each kind. A mutation that fails is made again by its
number alone, and becomes a test beside the reader.
"""

import json
import os
import random
import signal
import struct
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from memaudit import MemauditError
from memaudit.audit.checkpoints.pair import read
from memaudit.audit.data.base import DataError
from memaudit.audit.data.tensor_file import TensorFileSource
from memaudit.audit.printable import printable
from memaudit.audit.recipe.torch_files import from_torch
from memaudit.audit.report.file import load

from ..audit.report import old

ROUNDS = int(os.environ.get("MEMAUDIT_FUZZ", "40"))
SECONDS = 20
"""No file of a few kilobytes takes longer."""

NUMBERS = (0, 1, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def state():
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {"model": layer.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "tags": ("a", {"b"})}


def archive(path):
    torch.save(state(), path)


def old_torch(path):
    torch.save(state(), path, _use_new_zipfile_serialization=False)


def safetensors(path):
    save_file({"w": torch.ones(2, 3), "b": torch.ones(2, dtype=torch.float16)}, path)


def npz(path):
    np.savez(path, images=np.zeros((2, 8, 8, 3), np.uint8), labels=np.array([0, 1]))


def npy(path):
    np.save(path, np.zeros((2, 8, 8, 3), np.uint8))


def report(path):
    path.write_text(json.dumps(old.demo()))


def index(path):
    safetensors(path.with_name("part.safetensors"))
    path.write_text(json.dumps({"weight_map": {"w": "part.safetensors", "b": "part.safetensors"}}))


READERS = {
    "archive": (archive, ".pt", read),
    "old": (old_torch, ".pt", read),
    "optimizer": (archive, ".pt", from_torch),
    "safetensors": (safetensors, ".safetensors", read),
    "index": (index, ".index.json", read),
    "npz": (npz, ".npz", lambda path: TensorFileSource().open(str(path))),
    "npy": (npy, ".npy", lambda path: TensorFileSource().open(str(path))),
    "tensors": (archive, ".pt", lambda path: TensorFileSource().open(str(path))),
    "report": (report, ".json", load),
}


def changed(content: bytes, random: random.Random) -> bytes:
    """Change bytes, lengths and pieces in one to four places."""
    made = bytearray(content)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(made) + 1)
        end = min(len(made), at + random.choice((1, 2, 4, 8, 100)))
        match random.randrange(6):
            case 0:
                made[at:end] = random.randbytes(end - at)
            case 1:
                del made[at:end]
            case 2:
                made[at:at] = made[at:end] * random.choice((1, 2, 50))
            case 3:
                form = random.choice(("<B", "<H", "<I", "<Q"))
                width = struct.calcsize(form)
                made[at : at + width] = struct.pack(form, random.choice(NUMBERS) % 256**width)
            case 4:
                start = random.randrange(len(made) + 1)
                made[at:end] = made[start : start + end - at]
            case 5 if at < len(made):
                made[at] ^= 1 << random.randrange(8)
    return bytes(made)


@contextmanager
def limited():
    def stop(*_):
        raise AssertionError(f"it took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", READERS)
def test_what_was_changed_at_random_is_read_or_refused_in_one_line(tmp_path, kind):
    make, ending, reader = READERS[kind]
    file = tmp_path / f"a{ending}"
    torch.manual_seed(0)
    make(file)
    whole = file.read_bytes()
    reader(file) if kind != "tensors" else None
    for number in range(ROUNDS):
        file.write_bytes(changed(whole, random.Random(number)))
        try:
            with limited():
                reader(file)
        except MemauditError as error:
            said = printable(str(error), 10**6)
            assert "Unexpected" not in said, number
            assert said.isprintable(), number
            assert len(said) < 3000, number
        except Exception as error:
            raise AssertionError(f"{kind}, number {number}: {type(error).__name__}: {error}") from error


def test_the_readers_refuse_by_errors_of_ours():
    assert issubclass(DataError, MemauditError)
