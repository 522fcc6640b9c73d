import json
import os
import stat
from functools import partialmethod
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from memaudit import MemauditError
from memaudit.attacks.contract.attack import State
from memaudit.audit.events import Event
from memaudit.audit.files import write_text
from memaudit.audit.report.pictures import prune, save_picture
from memaudit.audit.run.store import Store, StoreError, key


def state():
    x = torch.randn(2, 3)
    return State(3, {"x": x}, {"labels": torch.tensor([1, 0])}, {"best_x": x}, 0.5, {"a": 1.0}, True)


def test_key_depends_on_every_part_and_on_nothing_else():
    assert key("a", {"x": 1, "y": 2}) == key("a", {"y": 2, "x": 1})
    assert len({key("a"), key("b"), key("a", None), key(["a"]), key("a", 1)}) == 5


def test_round_trip_with_shared_tensors(tmp_path):
    job, saved = Store(tmp_path).job("k"), state()
    job.save(saved, {"curve": [[1, 0.5]]})
    loaded, extra = job.load(torch.zeros(()))
    assert (loaded.step, loaded.loss, loaded.terms, loaded.done) == (3, 0.5, {"a": 1.0}, True)
    assert torch.equal(loaded.variables["x"], saved.variables["x"])
    assert torch.equal(loaded.memory["best_x"], saved.variables["x"])
    assert extra == {"curve": [[1, 0.5]]}
    assert not list(tmp_path.rglob("*.tmp"))


def test_absent_is_none(tmp_path):
    assert Store(tmp_path).job("k").load(torch.zeros(())) is None


def test_a_damaged_state_is_named(tmp_path):
    job = Store(tmp_path).job("k")
    job.save(state(), {})
    job.path.write_bytes(job.path.read_bytes()[:40])
    with pytest.raises(StoreError, match=r"state\.safetensors is damaged"):
        job.load(torch.zeros(()))


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(StoreError, match="cannot be created"):
        Store(tmp_path / "run")


def test_events_are_appended_as_json_lines(tmp_path):
    store = Store(tmp_path)
    store.log(Event("load", "checkpoints"))
    store.log(Event("report", "x.html"))
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["load", "report"]


def planted(folder, name, kind):
    """Put a link or a pipe in the place of a file of a run folder; return what it leads to."""
    outside = folder / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    (outside / "sample-00009-0123abcd.png").write_text("kept")
    path = folder / "run" / name
    path.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "hard link":
        os.link(outside / "file", path)
    else:
        path.symlink_to(outside / {"file": "file", "gone": "planted", "folder": ""}[kind])
    return outside


def use(folder):
    """Do all that is done in a run folder."""
    store = Store(folder)
    with store.held():
        store.log(Event("load", "x"))
        store.job("k").save(state(), {})
        save_picture(torch.rand(3, 4, 4), folder, "data/sample-00001")
        write_text(folder / "report.html", "page")
        write_text(folder / "report.json", "{}")
        prune(folder, ())


NAMES = ("lock", "events.jsonl", "report.html", "report.json", "jobs", "jobs/k", "jobs/k/state.safetensors", "evidence")


@pytest.mark.parametrize("kind", ["file", "gone", "folder", "pipe"])
@pytest.mark.parametrize("name", [*NAMES, "evidence/data"])
def test_nothing_planted_in_a_run_folder_is_followed(tmp_path, name, kind):
    outside = planted(tmp_path, name, kind)
    with pytest.raises(MemauditError, match=r"is a link|is not a regular file"):
        use(tmp_path / "run")
    assert {path.name: path.read_text() for path in outside.iterdir()} == {
        "file": "kept", "sample-00009-0123abcd.png": "kept",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["lock", "events.jsonl"])
def test_a_file_with_another_name_is_not_changed_in_its_place(tmp_path, name):
    outside = planted(tmp_path, name, "hard link")
    with pytest.raises(MemauditError, match="is a hard link"):
        use(tmp_path / "run")
    assert (outside / "file").read_text() == "kept"


@pytest.mark.parametrize("name", ["lock", "events.jsonl", "report.html", "jobs", "evidence"])
def test_what_is_planted_while_a_run_is_at_work_is_not_followed(tmp_path, name, monkeypatch):
    monkeypatch.setattr("memaudit.audit.run.store.refuse_foreign", lambda *_: planted(tmp_path, name, "folder"))
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(Path, "mkdir", partialmethod(Path.mkdir, exist_ok=True))
    with pytest.raises(MemauditError):
        use(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "outside").iterdir()) == ["file", "sample-00009-0123abcd.png"]


def test_a_run_folder_that_is_a_link_or_lies_behind_one_is_refused(tmp_path, monkeypatch):
    (tmp_path / "outside").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("memaudit-runs").symlink_to(tmp_path / "outside")
    for folder in (Path("memaudit-runs"), Path("memaudit-runs/key"), tmp_path / "work" / "memaudit-runs" / "key"):
        with pytest.raises(MemauditError, match="memaudit-runs is a link"):
            use(folder)
    assert not list((tmp_path / "outside").iterdir())


def test_files_of_another_user_are_refused(tmp_path, monkeypatch):
    Store(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(MemauditError, match="belongs to another user"):
        use(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"step": "x"}, {"step": -1}, {"step": True}, {"step": 10**400}, {"loss": None}, {"terms": {"a": "x"}},
        {"terms": []}, {"done": 1}, {"extra": []}, {"extra": {"peak_bytes": 10**400}}, {"extra": {"curve": [["x", 1]]}},
        {"extra": {"seconds": "x"}}, {"extra": {"curve": [1]}}, {"extra": {"diverged": 0}}, {"order": "x"},
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_damage(tmp_path, change):
    job = Store(tmp_path).job("k")
    job.save(state(), {})
    with safe_open(job.path, "pt") as file:
        plain = json.loads(file.metadata()["state"])
    save_file({"memory.x": torch.zeros(1)}, job.path, {"state": json.dumps(plain | change)})
    with pytest.raises(StoreError, match=r"state\.safetensors is damaged"):
        job.load(torch.zeros(()))


def test_a_state_is_read_by_its_owner_alone(tmp_path):
    job = Store(tmp_path).job("k")
    job.save(state(), {})
    assert [stat.S_IMODE(path.stat().st_mode) for path in (job.path, job.path.parent)] == [0o600, 0o700]
