"""The public face: what ``import memaudit`` gives, what it costs, and the tree of errors that it documents."""

import importlib
import re
import subprocess
import sys

import pytest

import memaudit

from .source import FILES, ROOT, imports, module, place

NAMES = [name for name in memaudit.__all__ if name != "MemauditError"]


def fresh(code: str) -> str:
    """Run code in a process of its own; return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_else():
    heavy = {"torch", "numpy", "pydantic", "typer", "rich", "memaudit.audit", "memaudit.attacks"}
    assert not heavy & set(fresh("import sys, memaudit; dir(memaudit); print(*sys.modules)").split())


@pytest.mark.parametrize("name", ["AuditReport", "ScanRequest", "load"])
def test_what_needs_no_torch_does_not_import_it(name):
    assert "torch" not in fresh(f"import sys, memaudit; memaudit.{name}; print(*sys.modules)").split()


FIRST = """
import os, scipy.stats, torch
import memaudit
for name in {names}:
    if not os.fork():
        print(name, name in dir(memaudit), getattr(memaudit, name).__module__, flush=True)
        os._exit(0)
    os.wait()
"""
"""Takes each name first, in processes that have imported what takes seconds, and nothing of the package."""


def test_a_name_is_there_at_its_first_use_and_listed_before():
    found = {name: told for name, *told in map(str.split, fresh(FIRST.format(names=NAMES)).splitlines())}
    assert found.keys() == set(NAMES)
    for name, (listed, home) in found.items():
        assert listed == "True"
        assert getattr(importlib.import_module(home), name) is getattr(memaudit, name)


ALONE = """
import os, pydantic, rich.console, scipy.stats, torch, typer
for name in {names}:
    if not os.fork():
        __import__(name)
        print(name, flush=True)
        os._exit(0)
    os.wait()
"""


def test_every_command_and_task_can_be_imported_first():
    folders = ("audit/cli/", "audit/tasks/")
    names = [module(file) for file in FILES if place(file).startswith(folders)]
    assert len(names) > 30
    assert fresh(ALONE.format(names=names)).split() == names


def test_the_docstring_has_a_line_for_each_name():
    assert re.findall(r"^``(\w+)``", memaudit.__doc__, re.MULTILINE) == sorted(
        memaudit.__all__, key=memaudit.__doc__.index
    )


def test_all_names_can_be_taken_at_once():
    assert fresh("from memaudit import *; print(ScanRequest('a', 'b').before)") == "a\n"


def test_a_name_that_is_not_there_is_an_error_that_says_so():
    with pytest.raises(AttributeError, match="module 'memaudit' has no attribute 'scann'"):
        memaudit.scann  # noqa: B018
    assert not hasattr(memaudit, "__wrapped__")


def test_type_checkers_see_the_same_places_as_python():
    """The imports under TYPE_CHECKING and the table of places are two lists: they must say the same."""
    seen = {name for name in imports(ROOT / "__init__.py") if name.startswith("memaudit.")}
    assert seen == {f"memaudit.audit.{place}.{name}" for name, place in memaudit._PLACES.items()}
    assert set(memaudit._PLACES) == set(NAMES)


def test_a_scan_and_its_report_through_the_public_names(tmp_path):
    from memaudit.audit.tasks.demo import train_victim, write_photographs

    train_victim(write_photographs(("rocket.jpg", "coffee.png"), tmp_path / "data"), tmp_path)
    request = memaudit.ScanRequest(
        tmp_path / "before.safetensors", tmp_path / "after.safetensors", data=tmp_path / "data", normalise="cifar10",
        lr=0.005, epochs=10, attacks=("simudy",), max_iterations=1, out=tmp_path / "run",
    )  # fmt: skip
    report = memaudit.scan(request)
    assert isinstance(report, memaudit.AuditReport)
    assert memaudit.load(str(tmp_path / "run")) == memaudit.load(tmp_path / "run" / "report.json") == report


def documented() -> dict[str, str]:
    return dict(re.findall(r"(?:\|--|`--) ([\w.]+) +(\S.*)$", memaudit.MemauditError.__doc__, re.MULTILINE))


def below(kind: type) -> set[type]:
    return {kind for child in kind.__subclasses__() for kind in (child, *below(child))}


def test_the_tree_of_errors_is_that_of_the_source():
    for file in FILES:
        importlib.import_module(module(file))
    found = {kind for kind in below(memaudit.MemauditError) if kind.__module__.startswith("memaudit.")}
    names = {f"{kind.__module__}.{kind.__qualname__}".removeprefix("memaudit."): kind for kind in found}
    assert set(documented()) == set(names)
    told = {name: 130 if "130" in text else 2 for name, text in documented().items()}
    assert {name: kind.exit_code for name, kind in names.items()} == told
