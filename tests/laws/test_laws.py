"""The laws of docs/architecture.md, by reading the source."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from memaudit.audit.cli.main import app

from .source import FILES, ROOT, STOREYS, imports, place


def storey(file: Path) -> int:
    """Return where a file stands: ``__main__`` above all, what all import below."""
    top = file.relative_to(ROOT).parts[0]
    return STOREYS.index(top) if top in STOREYS else len(STOREYS) if top == "__main__.py" else -1


@pytest.mark.parametrize("file", [file for file in FILES if file.parent != ROOT], ids=place)
def test_a_file_imports_only_its_own_storey_or_a_lower_one(file):
    for name in imports(file):
        match = re.match(r"memaudit\.(attacks|audit|reports)\b", name)
        if match:
            assert STOREYS.index(match[1]) <= storey(file), f"{file.name} imports {name}"


@pytest.mark.parametrize("file", sorted((ROOT / "attacks").rglob("*.py")), ids=place)
def test_attacks_are_pure_numerics(file):
    allowed = {"torch", "scipy", "memaudit", "abc", "collections", "contextlib", "dataclasses", "math", "os", "types"}
    allowed |= {"functools", "threading", "typing", "weakref"}
    assert {name.split(".")[0] for name in imports(file)} <= allowed
    text = file.read_text()
    assert not re.search(r"\b(print|open)\(|TrainingSet", text)


@pytest.mark.parametrize("file", FILES, ids=place)
def test_no_file_executes_what_a_checkpoint_holds(file):
    tree = ast.parse(file.read_text())
    assert not any(name.split(".")[0] in ("pickle", "dill", "joblib", "cloudpickle") for name in imports(file))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)


def test_training_data_meet_reconstructions_only_in_match():
    users = {
        place(file)
        for file in (ROOT / "audit").rglob("*.py")
        if {"TrainingSet", "Reconstruction"} <= {name.rpartition(".")[2] for name in imports(file)}
    }
    assert users == {"audit/scoring/match.py"}


def test_packages_are_written_out():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {file.parent for file in FILES}
    names = {".".join(("memaudit", *folder.relative_to(ROOT).parts)) for folder in folders}
    assert set(config["tool"]["setuptools"]["packages"]) == names
    assert {file.name for file in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_one_version():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    import memaudit

    assert config["project"]["version"] == memaudit.__version__
    assert f"## [{memaudit.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_no_machine_path_in_the_tree():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    needle = "/" + "work/"
    for name in listed:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".j2", ".json", ".yml", ""} and path.is_file():
            assert needle not in path.read_text(errors="replace"), name


def test_a_field_of_the_recipe_is_named_where_it_is_simulated_described_and_asked_for():
    """A new field is a line in each of three files; whoever reads, checks, prints or hands it on gets it from there."""

    def names(file: Path) -> bool:
        nodes = ast.walk(ast.parse(file.read_text()))
        return any(
            "schedule" in (getattr(node, part, None) for part in ("id", "attr", "arg", "value")) for node in nodes
        )

    found = {str(file.relative_to(ROOT)) for file in FILES if names(file)}
    assert found == {"attacks/contract/recipe.py", "audit/recipe/fields.py", "audit/recipe/given.py"}


COMMANDS = [[], *([name] for name in get_command(app).commands), ["baseline", "write"], ["baseline", "check"]]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_needs_no_torch(command):
    code = (
        "import sys; sys.argv = ['memaudit', *%r, '--help']\n"
        "from memaudit.audit.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert not {'torch', 'numpy', 'scipy', 'skimage', 'pydantic', 'PIL', 'rich.console'} & set(sys.modules)"
    ) % (command,)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
