"""Every file of a folder is looked at: a payload beside sound weights is found, and what is no checkpoint is named."""

import os
import pickle  # noqa: TID251 - what an attacker uses

import pytest
import torch
from safetensors.torch import save_file

from memaudit.audit.checkpoints import folder
from memaudit.audit.checkpoints.folder import look_into
from memaudit.audit.checkpoints.weights import CheckpointError
from memaudit.audit.printable import printable
from memaudit.audit.tasks.inspect import check_each


class Payload:
    def __reduce__(self):
        return os.system, ("touch marker",)


@pytest.fixture
def model(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_a_sound_folder(model):
    torch.save(torch.optim.SGD([torch.nn.Parameter(torch.ones(2))]).state_dict(), model / "optimizer.PT")
    rows, errors = check_each([str(model)])
    assert errors == []
    told = {os.path.basename(row["path"]): (row["format"], row["tensors"]) for row in rows}
    nothing = (None, 0)
    assert told == {
        "model.safetensors": ("safetensors", 1), "optimizer.PT": ("torch", 0), "README.md": nothing,
        "config.json": nothing,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["pytorch_model.bin", "below/a.th", "weights.dat", ".hidden"])
def test_a_payload_beside_sound_weights_is_found(model, name, monkeypatch):
    monkeypatch.chdir(model)
    (model / "below").mkdir()
    (model / name).write_bytes(pickle.dumps(Payload(), protocol=2))
    rows, errors = check_each(["."])
    assert [row["path"] for row in rows if row["format"]] == ["model.safetensors"]
    assert [error.message for error in errors if name in error.message and "system" in error.message]
    assert not (model / "marker").exists()


def test_what_cannot_be_looked_at_is_an_error(model):
    os.mkfifo(model / "pipe.pt")
    (model / "gone.pt").symlink_to("nowhere")
    (model / "loop.pt").symlink_to("loop.pt")
    (model / "up").symlink_to(model.parent)
    found = look_into(model)
    assert [path.name for path in found.checkpoints] == ["model.safetensors"]
    assert len(found.closed) == 4
    _, errors = check_each([str(model)])
    assert len(errors) == 4
    assert all("is a pipe, a device, or a link" in error.message for error in errors)


def test_a_loop_that_an_index_names_is_told_once(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"w": "part.safetensors"}}')
    (tmp_path / "part.safetensors").symlink_to("part.safetensors")
    assert len(check_each([str(tmp_path)])[1]) == 1


def test_a_folder_without_checkpoints(tmp_path):
    (tmp_path / "README.md").write_text("hello")
    _, errors = check_each([str(tmp_path)])
    assert [error.message for error in errors] == [f"The folder {tmp_path} holds no weights."]


def test_a_folder_of_too_many_files(model, monkeypatch):
    monkeypatch.setattr(folder, "MOST_FILES", 2)
    with pytest.raises(CheckpointError, match="more than 2 files"):
        look_into(model)


def test_a_checkpoint_whose_name_is_not_utf_8_is_told_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(2)}, "a.pt")
    os.mkdir("files")
    os.rename("a.pt", b"files/a\xff.pt")
    rows, errors = check_each(["files"])
    assert rows == []
    assert [printable(error.message) for error in errors] == [r"The path 'files/a\udcff.pt' is not UTF-8."]
