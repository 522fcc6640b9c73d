"""Pages for whoever carries on name what is there."""

import pkgutil
import re

import pytest

from .source import ROOT, place

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
ROWS = re.findall(r"^\| ([a-z ]+) \| (.+) \| `([\w/.]+)` \|$", GLOSSARY, re.MULTILINE)


def test_the_glossary_is_read_whole():
    heads = len(re.findall(r"^\| word \|", GLOSSARY, re.MULTILINE))
    assert len(ROWS) == len(re.findall(r"^\| ", GLOSSARY, re.MULTILINE)) - heads > 30
    words = [word for word, *_ in ROWS]
    assert len(words) == len(set(words))


@pytest.mark.parametrize(("word", "meaning", "file"), ROWS, ids=[word for word, *_ in ROWS])
def test_a_word_of_the_glossary_stands_in_its_file(word, meaning, file):
    assert re.search(rf"\b{word}", (ROOT / file).read_text(), re.IGNORECASE)
    assert len(meaning) > 20


PATH = re.compile(r"`((?:attacks|audit|reports|tests|benchmarks|docs|\.ci)/[\w./]*)")
PAGES = [page for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")) if PATH.search(page.read_text())]
MADE = ("test_NAME.py", "paper.json")
"""What a page may name that is still to be written."""


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_a_path_that_a_page_names_is_there(page):
    named = [path for path in PATH.findall(page.read_text()) if not path.endswith(MADE)]
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md"])
def test_a_chore_that_a_page_names_is_a_target(page):
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"\bmake (\w+)", (ROOT / page).read_text())
    assert {"check", "fast"} <= set(named) <= set(targets)


STEPS = (ROOT / "docs" / "architecture.md").read_text().partition("## The path of a scan")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", re.findall(r"`([a-z]+(?:\.[a-z_]+)+(?:\.[A-Z]\w+)?)`", STEPS))
def test_a_step_of_the_path_of_a_scan_is_there(name):
    assert pkgutil.resolve_name(f"memaudit.audit.{name}")


def test_the_path_of_a_scan_is_read_whole():
    assert len(re.findall(r"^\d+\. ", STEPS, re.MULTILINE)) == 11


TOLD = [
    file
    for pattern in ("*.md", "*.yml", "docs/**/*.md", "audit/**/*.py", "reports/**/*", "attacks/**/*.py")
    for file in ROOT.glob(pattern)
    if file.is_file() and file.suffix != ".pyc"
]


def test_nobody_is_told_to_install_the_other_memaudit():
    """The project of that name on PyPI is another one: ours is installed from a checkout or its repository."""
    wrong = re.compile(r"""pip3? install (-\S+ )*['"]?memaudit\b|memaudit\[(pdf|ray|dev)""")
    assert [place(file) for file in TOLD if wrong.search(file.read_text(errors="replace"))] == []
    assert wrong.search("Run: pip install memaudit")
    assert wrong.search("pip install -q 'memaudit[pdf]'")
    assert not wrong.search('pip install -q "git+https://github.com/OWNER/memaudit@v0.1.0"')
