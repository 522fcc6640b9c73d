"""The rooms: their order, their sentences, no circle, and no file or function too long to read at once."""

import ast
import graphlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from . import source
from .source import FILES, ROOT, STOREYS, arrows, docstring, place

ARCHITECTURE = ROOT / "docs" / "architecture.md"
LINE = re.compile(r"^( *)([\w.]+/?) {2,}(.+)$")
LINES, BODY = 300, 40
"""A file and the body of a function stay under these; a docstring does not count as body."""
SHARE = 0.15
"""The largest room has at most this share of all lines."""


def rooms() -> dict[str, str]:
    """Return the tree of docs/architecture.md: rooms from the top down, with their sentences."""
    block = re.search(r"<!-- rooms -->\n+```text\n(.*?)```\n+<!-- end rooms -->", ARCHITECTURE.read_text(), re.DOTALL)
    assert block, "docs/architecture.md has no tree between <!-- rooms --> and <!-- end rooms -->"
    found, above = {}, ""
    for line in block[1].splitlines():
        part = LINE.match(line)
        assert part, f"not a folder or file, two blanks and a sentence: {line}"
        indent, name, sentence = part.groups()
        above = above if indent else name
        found[f"{above if indent else ''}{name}"] = sentence
    return found


ROOMS = rooms()


def room(file: Path) -> str:
    """Return the room that a file is in: a line of the tree, or the name of a file beside the storeys."""
    name = place(file)
    return name if name in ROOMS or "/" not in name else name.rpartition("/")[0] + "/"


def test_the_tree_is_the_folders():
    flat = {place(file) for file in (ROOT / "audit").glob("*.py") if file.name != "__init__.py"}
    folders = {place(file.parent) + "/" for file in FILES if file.parent != ROOT}
    assert set(ROOMS) == folders | flat
    storeys = [name for name in ROOMS if name.count("/") == 1 and name.endswith("/")]
    assert storeys == [f"{name}/" for name in reversed(STOREYS)]


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_says_what_it_is_in_the_sentence_of_the_tree(name):
    file = ROOT / name / "__init__.py" if name.endswith("/") else ROOT / name
    assert docstring(file) == ROOMS[name]
    if name.endswith("/"):
        (only,) = source.tree(file).body
        assert " ".join(ast.get_docstring(source.tree(file)).split()) == ROOMS[name], "one sentence and nothing else"
        assert isinstance(only, ast.Expr)


@pytest.mark.parametrize("file", FILES, ids=place)
def test_a_file_imports_only_from_its_own_room_or_one_below(file):
    order = ["__main__.py", *ROOMS, "__init__.py"]
    above = order[: order.index(room(file))]
    assert not [place(target) for target in arrows(file) if room(target) in above]


def test_no_circle_of_imports():
    found = graphlib.TopologicalSorter({place(file): {place(target) for target in arrows(file)} for file in FILES})
    try:
        found.prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_no_import_that_python_follows_is_overlooked():
    start = "memaudit.audit.cli.main"
    code = f"import sys, {start}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    files = {file for name in loaded if (file := source.MODULES.get(name)) and file.name != "__init__.py"}
    assert len(files) > 10
    assert files <= reached(source.MODULES[start])


def reached(file: Path) -> set[Path]:
    """Return a file and all that it imports, directly or not."""
    found, waiting = {file}, [file]
    while waiting:
        new = arrows(waiting.pop()) - found
        found |= new
        waiting += new
    return found


def test_no_room_is_much_larger_than_the_others():
    lines = Counter[str]()
    for file in FILES:
        lines[room(file)] += file.read_text().count("\n")
    name, most = lines.most_common(1)[0]
    assert most <= SHARE * lines.total(), name


@pytest.mark.parametrize("file", [*FILES, *sorted((ROOT / "benchmarks").glob("*.py"))], ids=place)
def test_a_file_and_its_functions_can_be_read_at_once(file):
    lines = file.read_text().count("\n")
    assert lines < LINES
    assert not [f"{name}: {length} lines" for name, length in bodies(file) if length >= BODY]


def bodies(file: Path) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(source.tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[ast.get_docstring(node) is not None :]
            if body:
                found.append((node.name, node.end_lineno - body[0].lineno + 1))
    return found
