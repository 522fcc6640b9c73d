"""Archives of NumPy arrays: numbers by name, and nothing else."""

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memaudit.audit.checkpoints import arrays
from memaudit.audit.checkpoints.arrays import is_numbered
from memaudit.audit.checkpoints.pair import CheckpointError, read, read_pair

STATE: dict[str, Any] = {"fc.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "fc.bias": np.ones(3, np.float32)}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_named_arrays_are_tensors(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "round-1-weights.npz", **STATE, steps=np.array(3), mask=np.array([True]), half=np.float16([1]))
    found = read(tmp_path / "round-1-weights.npz")
    assert found.format == "npz"
    assert found.tensors["fc.weight"].equal(torch.from_numpy(STATE["fc.weight"]))
    assert found.dtypes == ("bool", "float16", "float32", "int64")
    torch.save({name: torch.from_numpy(value) + 1 for name, value in STATE.items()}, tmp_path / "after.pt")
    save(tmp_path / "before.npz", **STATE)
    assert read_pair(tmp_path / "before.npz", tmp_path / "after.pt").moved == STATE.keys()


def test_numbered_arrays_are_compared_with_numbered_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "before.npz", *STATE.values())
    np.savez(tmp_path / "after.npz", *(value + 1 for value in STATE.values()))
    assert read_pair(tmp_path / "before.npz", tmp_path / "after.npz").moved == {"arr_0", "arr_1"}
    torch.save({name: torch.from_numpy(value) for name, value in STATE.items()}, tmp_path / "named.pt")
    for pair in (("before.npz", "named.pt"), ("named.pt", "before.npz")):
        with pytest.raises(CheckpointError, match=r"before\.npz holds arrays by their order alone") as caught:
            read_pair(*(tmp_path / name for name in pair))
        assert "numpy.savez" in caught.value.hint
    assert not is_numbered([])


def npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def member(array: Any, **replaced: str) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    content = stream.getvalue()
    for old, new in replaced.items():
        content = content.replace(f"({old},)".encode(), f"({new},)".encode())
    return content


REFUSED = {
    "objects": ({"a": member(np.array([{}, 1], dtype=object))}, "no array of numbers"),
    "text": ({"a": member(np.array(["abc"]))}, "no array of numbers"),
    "complex": ({"a": member(np.ones(3, complex))}, "no array of numbers"),
    "another byte order": ({"a": member(np.ones(3, ">f4"))}, "torch does not have"),
    "more than is there": ({"a": member(np.ones(3)).replace(b"(3,), }   ", b"(3000000,), }")}, "larger arrays"),
    "cut short": ({"a": member(np.ones(100))[:-8]}, "damaged|larger arrays"),
    "no array": ({"a": b"hello"}, "damaged"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_other_archives_are_refused(tmp_path: Path, what: str) -> None:
    members, word = REFUSED[what]
    with pytest.raises(CheckpointError, match=word):
        read(npz(tmp_path / "a.npz", **members))


def test_what_unpacks_to_far_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10**6))
    assert read(tmp_path / "a.npz").tensors["a"].numel() == 10**6
    monkeypatch.setattr(arrays, "_FREE", 10**6)
    with pytest.raises(CheckpointError, match="far more than its size"):
        read(tmp_path / "a.npz")


def test_an_archive_that_readers_see_in_two_ways_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **STATE)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(content + content)
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("fc.bias.npy", member(np.zeros(3)))
    for name, word in (("a.npz", "two files of one name"), ("b.npz", "two tables of contents|damaged")):
        with pytest.raises(CheckpointError, match=word):
            read(tmp_path / name)


def test_only_numbers_without_a_dimension(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.float32(3))
    with pytest.raises(CheckpointError, match="no state dict"):
        read(tmp_path / "a.npz")
