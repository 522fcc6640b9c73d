"""The source of the package, read and not run: files, modules, and who imports whom."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STOREYS = ["attacks", "audit", "reports"]
"""From the bottom up."""
FILES = [*sorted(ROOT.glob("*.py")), *(file for storey in STOREYS for file in sorted((ROOT / storey).rglob("*.py")))]


def place(file: Path) -> str:
    """Return where a file is in the repository."""
    return file.relative_to(ROOT).as_posix()


def module(file: Path) -> str:
    """Return the name that a file is imported by."""
    parts = ("memaudit", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(file): file for file in FILES}


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def docstring(file: Path) -> str:
    """Return the first sentence of a file's docstring, on one line."""
    text = " ".join((ast.get_docstring(tree(file)) or "").split())
    ends = [place for mark in ".?!" if (place := f"{text} ".find(f"{mark} ")) >= 0]
    return text[: min(ends) + 1] if ends else ""


@cache
def imports(file: Path, types: bool = True) -> tuple[str, ...]:
    """Return what a file imports anywhere in it, relative names resolved to ``memaudit...``.

    Args:
        file: A Python file of the repository.
        types: Whether imports that only type checkers see count.
    """
    package = ("memaudit", *file.relative_to(ROOT).parts[:-1])
    found = []
    for node in _nodes(tree(file), types):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *([node.module] if node.module else [])))
            found += [f"{name}.{alias.name}" for alias in node.names]
    return tuple(found)


def _nodes(node: ast.AST, types: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING" and not types:
            yield from (inner for part in child.orelse for inner in (part, *_nodes(part, types)))
            continue
        yield child
        yield from _nodes(child, types)


@cache
def arrows(file: Path) -> frozenset[Path]:
    """Return the files of the package that a file imports when it runs, also within its functions."""
    found = {MODULES.get(name) or MODULES.get(name.rpartition(".")[0]) for name in imports(file, types=False)}
    return frozenset(target for target in found if target and target != file)
