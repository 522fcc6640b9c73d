"""Every block of code on every page: commands are understood, files are read by what reads them, names are there.

Those that can run on small files are run: in tests/howto, tests/ci and, of the README, .ci/run.
"""

import ast
import builtins
import importlib
import inspect
import re
import shlex
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from typer.main import get_command

from memaudit.audit.cli.catalogue import catalogue
from memaudit.audit.cli.main import app
from memaudit.audit.request import ScanRequest, check, from_options
from memaudit.audit.run.options import build
from memaudit.audit.tasks.alter import parse_defences
from memaudit.audit.tasks.many import read_pairs
from memaudit.audit.verdict.expression import parse
from memaudit.reports.dpia.context import answers

from .source import ROOT, place

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = ("", "console", "math", "python", "sh", "text", "toml", "yaml")
ENDS = {"|", "||", "&&", ">", ">>", ";", "&"}
"""What ends the words of a command in a shell."""
ELSEWHERE = {"flwr"}
"""Modules of others that a page uses and that no extra installs."""


@dataclass(frozen=True)
class Block:
    """A block of code: fenced, or indented, which has no language."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{place(self.page)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, also those within lists."""
    tokens = MarkdownIt().parse(page.read_text())
    return [Block(page, token.map[0] + 1, token.info.strip(), token.content)
            for token in tokens if token.type in ("fence", "code_block")]  # fmt: skip


BLOCKS = [block for page in PAGES for block in blocks(page)]


def words(line: str) -> list[str]:
    """Return the words of a shell's line up to what ends its first command; comments are none."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found = list(lexer)
    return found[: min((found.index(end) for end in ENDS & {*found}), default=len(found))]


def commands(block: Block) -> list[list[str]]:
    """Return every line of a block that calls memaudit, as words behind that name."""
    start = {"console": r"\$ ", "yaml": r"\s*- "}.get(block.language, "")
    lines = re.findall(rf"^{start}memaudit (.+)$", block.text, re.MULTILINE)
    return [
        words(line) for line in lines if "[OPTIONS]" not in line and block.language not in ("text", "math", "python")
    ]


COMMANDS = [(block, line) for block in BLOCKS for line in commands(block)]


def context(line: list[str]) -> Any:
    """Return what the command line makes of words, without running the command."""
    command = get_command(app)
    found = command.make_context("memaudit", list(line))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(found, [*found._protected_args, *found.args])
        found = command.make_context(name, rest, parent=found)
    return found


def test_blocks_are_found_and_their_languages_known():
    assert {block.language for block in BLOCKS} == {*LANGUAGES}
    assert len(COMMANDS) > 70
    assert words("memaudit scan a 'b>0' --x=1 > f # of") == ["memaudit", "scan", "a", "b>0", "--x=1"]


@pytest.mark.parametrize(
    ("block", "line"), COMMANDS, ids=lambda part: str(part) if isinstance(part, Block) else part[0]
)
def test_a_command_is_understood(block, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = context(line).params
    for gate in found.get("fail_if") or ():
        parse(gate)
    if found.get("set_"):
        build([*{setting.partition(".")[0] for setting in found["set_"]}], found["set_"])
    if line[0] == "scan":
        fields = {"attack", "set_", "output", *inspect.signature(ScanRequest).parameters}
        check(from_options({name: given for name, given in found.items() if name in fields}))
    if line[0] == "defend":
        assert parse_defences(found["noise"], found["bits"]) or not (found["noise"] or found["bits"])


def test_what_is_not_understood_is_noticed():
    with pytest.raises(Exception, match="No such option"):
        context(["scan", "a", "b", "--contrl", "c"])
    with pytest.raises(Exception, match="No such command"):
        context(["skan", "a", "b"])
    assert not exists(*named(ast.parse("memaudit.skan").body[0].value, {}, set()))


MODULES = [
    (block, name) for block in BLOCKS for name in re.findall(r"^python3? -m (benchmarks[\w.]*)", block.text, re.M)
]


@pytest.mark.parametrize(("block", "name"), MODULES, ids=str)
def test_a_benchmark_that_a_page_runs_is_there(block, name):
    file = ROOT / name.replace(".", "/")
    assert file.with_suffix(".py").exists() or (file / "__main__.py").exists()


def of(language: str) -> Any:
    """Parametrise a test with the blocks of one language."""
    return pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == language], ids=str)


@of("console")
def test_a_console_shows_commands_and_nothing_else(block):
    assert all(line.startswith("$ memaudit") for line in block.text.splitlines())


@of("sh")
def test_a_script_is_one(block):
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)


@of("yaml")
def test_a_yaml_file_is_one(block):
    assert isinstance(yaml.safe_load(block.text), dict)


@of("toml")
def test_a_toml_file_is_read_by_what_reads_it(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if block.text.startswith("# memaudit.toml"):
        Path("memaudit.toml").write_text(block.text)
        found = context(["scan", "a", "b"]).params
        assert found["normalise"] == tomllib.loads(block.text)["normalise"]
        assert "Configuration: memaudit.toml" in capsys.readouterr().err
    elif "[pairs." in block.text:
        Path("pairs.toml").write_text(block.text)
        assert read_pairs(Path("pairs.toml"), catalogue(context(["scan", "a", "b"]).parent, ["scan"]), tmp_path)
    else:
        assert answers(tomllib.loads(block.text)), "neither a configuration nor a list of pairs nor a context"


@of("python")
def test_python_names_what_is_there(block):
    tree = ast.parse(block.text)
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(ast.unparse(node), names)  # imports alone
    own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (found := named(node, names, own)):
            assert exists(*found), ast.unparse(node)
        if isinstance(node, ast.Call) and (found := named(node.func, names, own)) and exists(*found):
            takes = inspect.signature(value(*found)).parameters
            free = any(one.kind is one.VAR_KEYWORD for one in takes.values())
            assert free or {word.arg for word in node.keywords if word.arg} <= {*takes}, ast.unparse(node)


def named(node: ast.expr, names: dict[str, Any], own: set[str]) -> tuple[Any, list[str]] | None:
    """Return the module that a chain of names begins with, and the chain; None if it begins with something else."""
    chain: list[str] = []
    while isinstance(node, ast.Attribute):
        chain, node = [node.attr, *chain], node.value
    if not isinstance(node, ast.Name) or node.id in own | ELSEWHERE | {*vars(builtins)}:
        return None
    try:
        return names.get(node.id) or importlib.import_module(node.id), chain
    except ImportError:
        return None


def value(start: Any, chain: list[str]) -> Any:
    """Return what a chain of names stands for."""
    for name in chain:
        start = getattr(start, name)
    return start


def exists(start: Any, chain: list[str]) -> bool:
    """Return whether each name of a chain is there."""
    try:
        value(start, chain)
    except AttributeError:
        return False
    return True
