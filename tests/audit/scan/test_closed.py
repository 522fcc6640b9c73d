"""A whole scan opens no network socket, runs no program, and writes nowhere but where it says."""

import os
import sys
import tempfile
from pathlib import Path

import pytest
from safetensors.torch import load_file

from memaudit.audit.cli.main import main
from memaudit.audit.run import drive

from ...fuzz.watch import watched


def lying(folder):
    """Return what lies in a folder, with its content."""
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_a_scan_writes_only_where_it_says_and_talks_to_nobody(leak, tmp_path, monkeypatch):
    for name in ("inside", "state", "passing", "home", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "passing"))
    monkeypatch.setattr(drive, "SAVE_SECONDS", 0.0)
    beside = lying(leak.before.parent)
    outputs = {name: tmp_path / "elsewhere" / f"report.{name}" for name in ("html", "md", "sarif", "junit", "json")}
    asked = ["--data", leak.data, "--control", leak.control, "--normalise", "0.5;0.25", "--epochs", 10, "--lr", 0.02]
    asked += ["--attack", "simudy", "--max-iterations", 9, "-q", "--exit-zero", "--out", "run"]
    asked += [word for name, path in outputs.items() for word in ("-o", f"{name}={path}")]
    monkeypatch.setattr(sys, "argv", ["memaudit", "scan", *map(str, (leak.before, leak.after, *asked))])
    with watched() as seen, pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    said = ("inside/run", "state/memaudit", "passing", "elsewhere")
    assert seen.paths, "the watch is on"
    assert not [path for path in seen.outside(*(tmp_path / name for name in said)) if not _nothing(path)]
    assert not seen.network
    assert not seen.programs
    # What a library writes without Python is seen by what lies there afterwards.
    found = {path.relative_to(tmp_path).parts[:2] for path in lying(tmp_path)}
    assert {place for place in found if place[0] in ("inside", "home", "state")} == {
        ("inside", "run"), ("state", "memaudit"),
    }  # fmt: skip
    assert lying(leak.before.parent) == beside
    assert all(path.is_file() for path in outputs.values())
    assert list((tmp_path / "inside" / "run" / "jobs").glob("*/state.safetensors"))
    assert load_file(leak.after)


def _nothing(path):
    """Return whether it is a counter of this process, nothing, or Python's cache of a module."""
    return path in (os.devnull, f"/proc/{os.getpid()}/clear_refs") or "__pycache__" in path
