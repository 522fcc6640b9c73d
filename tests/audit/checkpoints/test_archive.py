"""Archives that two readers understand differently, or that swell: refused, as torch.save writes none."""

import struct
import zipfile

import pytest
import torch

from memaudit.audit.checkpoints.archive import check_archive
from memaudit.audit.checkpoints.calls import Excess


@pytest.fixture
def saved(tmp_path):
    torch.save({"w": torch.arange(4.0)}, tmp_path / "a.pt")
    return tmp_path / "a.pt"


def test_what_torch_saves_has_one_table_of_contents(saved):
    assert check_archive(saved)["data/0"] == 16


def test_so_has_what_python_writes(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    assert check_archive(tmp_path / "a.pt") == {"data.pkl": 0}


@pytest.mark.parametrize("wide", [False, True])
def test_two_tables_of_contents(tmp_path, saved, wide):
    content = saved.read_bytes()
    start, end = content.index(b"PK\1\2"), content.index(b"PK\6\6")
    table, last = content[start:end], content[end:] if wide else content[content.index(b"PK\5\6") :]
    assert not wide or struct.unpack("<Q", last[48:56])[0] == start
    (tmp_path / "b.pt").write_bytes(content[:end] + table + last)
    with pytest.raises(Excess, match="two tables"):
        check_archive(tmp_path / "b.pt")


@pytest.mark.parametrize("names", [("a/data.pkl", "a/DATA.pkl"), ("a/data.pkl", "b/data.pkl"), ("a/data.pkl", "x")])
def test_names_that_readers_could_mix_up(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    with pytest.raises(Excess, match="is an archive"):
        check_archive(tmp_path / "a.pt")


def test_something_behind_the_end(saved):
    saved.write_bytes(saved.read_bytes()[:-2] + b"\4\0more")
    with pytest.raises(Excess, match="behind its end"):
        check_archive(saved)
