"""Files and folders of other formats are told by their own name, with what to do."""

import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from memaudit.audit.checkpoints.pair import CheckpointError, read

STATE = {"a.weight": torch.ones(3, 4), "a.bias": torch.ones(3)}


def refused(path: Path) -> tuple[str, str]:
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return caught.value.message, caught.value.hint


FILES = {
    "a.gguf": (b"GGUF\3\0\0\0", "GGUF"),
    "renamed.bin": (b"GGUF\3\0\0\0", "GGUF"),
    "a.onnx": (b"\x08\x07\x12\x07pytorch", "ONNX"),
    "a.tflite": (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
    "a.h5": (b"\x89HDF\r\n\x1a\n\0\0", "Keras"),
    "weights.pth": (b"\x89HDF\r\n\x1a\n\0\0", "Keras"),
    "saved_model.pb": (b"\x08\1\x12", "TensorFlow"),
    "flax_model.msgpack": (b"\x81\xa6params", "Flax"),
    "a.npy": (b"\x93NUMPY\1\0", "single NumPy array"),
    "a.mlmodel": (b"\x08\5", "Core ML"),
    "a.engine": (b"ftrt", "TensorRT"),
    "a.pdparams": (b"\x80\3", "Paddle"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path: Path, name: str) -> None:
    content, word = FILES[name]
    (tmp_path / name).write_bytes(content + bytes(100))
    message, hint = refused(tmp_path / name)
    assert message.startswith(f"{tmp_path / name} is a")
    assert word in message
    assert "does not read" in message
    assert hint


def test_a_keras_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("model.weights.h5", "")
    assert "Keras" in refused(tmp_path / "a.keras")[0]


@pytest.mark.parametrize("name", ["model.h5", "model.onnx", "model.msgpack", "model.pb"])
def test_what_torch_saved_is_read_under_any_name(tmp_path: Path, name: str) -> None:
    torch.save(STATE, tmp_path / name)
    assert read(tmp_path / name).tensors.keys() == STATE.keys()


FOLDERS = {"saved_model.pb": "TensorFlow", "tf_model.h5": "Keras", "flax_model.msgpack": "Flax", "model.onnx": "ONNX"}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(100))
    (tmp_path / "config.json").write_text("{}")
    message, hint = refused(tmp_path)
    assert FOLDERS[name] in message
    assert hint
    save_file(STATE, tmp_path / "model.safetensors")
    assert read(tmp_path).tensors.keys() == STATE.keys()


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A checkpoint as FSDP saves it, in a folder whose name has a space."""
    folder = tmp_path / "fsdp 0"
    with warnings.catch_warnings(action="ignore"):
        dcp.save({"model": STATE}, checkpoint_id=str(folder), no_dist=True)
    return folder


@pytest.mark.parametrize("name", ["", "__0_0.distcp", ".metadata"])
def test_distributed_checkpoints(sharded: Path, name: str) -> None:
    message, hint = refused(sharded / name)
    assert "torch.distributed.checkpoint" in message
    assert f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch '{sharded}' OUT.pt" in hint


def test_the_command_makes_a_file_that_is_read(sharded: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        dcp_to_torch_save(sharded, tmp_path / "OUT.pt")
    assert read(tmp_path / "OUT.pt").tensors.keys() == STATE.keys()
