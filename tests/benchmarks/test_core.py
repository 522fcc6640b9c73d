"""What the measurements share: the environment of the memaudit that they start."""

import ast
import subprocess

import pytest

from benchmarks.core import SCRIPT, calm
from tests.laws.source import ROOT

OTHERS = {"adjoints"}  # starts itself
STARTERS = [
    file
    for file in sorted((ROOT / "benchmarks").glob("*.py"))
    if "subprocess.run(" in file.read_text() and file.stem not in OTHERS
]


def test_variables_of_the_benchmarks_do_not_reach_the_memaudit_that_is_measured(monkeypatch):
    monkeypatch.setenv("MEMAUDIT_DATA_PACK", "pack")
    monkeypatch.setenv("MEMAUDIT_PROFILE", "full")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = calm(PYTHONPATH="")
    assert not [name for name in found if name.startswith("MEMAUDIT_")]
    assert (found["OMP_NUM_THREADS"], found["PYTHONPATH"]) == ("3", "")
    told = subprocess.run([SCRIPT, "config"], env=calm(), capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("file", STARTERS, ids=lambda file: file.stem)
def test_each_process_of_memaudit_is_calm(file):
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    runs = [call for call in calls if ast.unparse(call.func) == "subprocess.run"]
    assert runs
    assert all("env" in {word.arg for word in call.keywords} for call in runs)
