"""``memaudit runs``: run folders are listed, and deleted with what memaudit wrote into them, and nothing else."""

import json
import sys

import pytest

from memaudit.audit.cli.main import main
from memaudit.audit.machine.lock import LockError, locked
from memaudit.audit.tasks.runs import RunError, delete, list_runs


@pytest.fixture
def made(tmp_path, report):
    """Make a run folder with a picture, a state and a report."""

    def make(name, created="2026-01-01T00:00:00+00:00", finished=True):
        folder = tmp_path / name
        for place in ("evidence/data", "jobs/KEY", "defences/noise"):
            (folder / place).mkdir(parents=True)
        for file in ("evidence/data/sample-0.png", "jobs/KEY/state.safetensors", "defences/noise/after.safetensors",
                     "lock", "events.jsonl", "report.html"):  # fmt: skip
            (folder / file).write_bytes(b"x" * 1000)
        if finished:
            (folder / "report.json").write_text(report.model_copy(update={"created": created}).to_json())
        return folder

    return make


def test_run_folders_are_listed_the_newest_first_wherever_they_are(tmp_path, made):
    made("old")
    made("below/further/new", "2027-01-01T00:00:00+00:00")
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "old")
    found = list_runs(tmp_path)
    assert [(run.path, run.verdict, run.pair) for run in found] == [
        (str(tmp_path / "below/further/new"), "pass", "a.pt -> a.pt"), (str(tmp_path / "old"), "pass", "a.pt -> a.pt")
    ]  # fmt: skip
    assert found[0].size > 6000
    assert list_runs(tmp_path / "old")[0].path == str(tmp_path / "old")
    assert list_runs(tmp_path / "other") == []
    with pytest.raises(RunError, match="is not a folder"):
        list_runs(tmp_path / "nowhere")


def test_one_without_a_report_or_with_a_broken_one_is_listed_too(tmp_path, made):
    made("begun", finished=False)
    (made("broken") / "report.json").write_text("{")
    assert {run.verdict for run in list_runs(tmp_path)} == {"unfinished", "unreadable"}


def test_a_run_folder_is_deleted_with_all_that_memaudit_wrote(made):
    folder = made("run")
    gone = delete(folder)
    assert gone.size > 6000
    assert not gone.left
    assert not folder.exists()


def test_what_memaudit_did_not_write_stays_and_is_told(tmp_path, made):
    folder, precious = made("run"), tmp_path / "precious"
    precious.mkdir()
    (precious / "photo.png").write_bytes(b"x")
    (folder / "mine.txt").write_text("mine")
    (folder / "evidence" / "link").symlink_to(precious)
    (folder / "report-evidence").symlink_to(precious)
    assert delete(folder).left == ["mine.txt", "report-evidence"]
    assert (precious / "photo.png").exists(), "no link is followed"
    assert sorted(path.name for path in folder.iterdir()) == ["mine.txt", "report-evidence"]


def test_a_report_elsewhere_stays_and_is_told(tmp_path, made, report):
    folder, page = made("run"), tmp_path / "audit.html"
    page.write_text("")
    command = f"memaudit scan a b -o html={page} -o md={tmp_path / 'gone.md'} -o json={folder / 'report.json'}"
    (folder / "report.json").write_text(report.model_copy(update={"command": command}).to_json())
    assert delete(folder).elsewhere == [str(page)]


def test_nothing_else_is_deleted(tmp_path, made):
    folder = made("run")
    (tmp_path / "link").symlink_to(folder)
    for name, why in ((".", "not a run folder"), ("nowhere", "not a run folder"), ("link", "is a link")):
        with pytest.raises(RunError, match=why):
            delete(tmp_path / name)
    with locked(folder), pytest.raises(LockError, match="at work"):
        delete(folder)
    assert (folder / "evidence/data/sample-0.png").exists()


def test_on_the_command_line(tmp_path, made, monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["memaudit", "runs", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, capsys.readouterr()

    monkeypatch.chdir(tmp_path)
    assert "There is no run folder in memaudit-runs" in run()[1].out
    folder = made("memaudit-runs/key")
    assert "memaudit-runs/key" in run()[1].out
    assert json.loads(run("--json")[1].out)[0]["verdict"] == "pass"
    code, said = run("--delete", tmp_path)
    assert (code, said.out) == (2, "")
    assert "not a run folder" in said.err
    code, said = run("--delete", folder)
    assert (code, said.err) == (0, "")
    assert "Deleted" in said.out
    assert not folder.exists()
