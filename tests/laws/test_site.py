"""The site: it builds strictly, every link and anchor on it leads somewhere, and it loads nothing from another host."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from .source import ROOT

pytest.importorskip("mkdocs", reason="the extra docs is not installed")
pytest.importorskip("material", reason="the extra docs is not installed")

LOADED = {"audio": "src", "embed": "src", "iframe": "src", "img": "src", "link": "href", "object": "data",
          "script": "src", "source": "src", "video": "src"}  # fmt: skip
"""What a browser fetches by itself, by element; a link's ``rel`` may say that it does not."""


class Page(HTMLParser):
    """What one page has: ids, links, what it loads, and its text outside of code."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids, self.links, self.loads, self.text, self.math = set[str](), list[str](), list[str](), "", ""
        self.within: list[str] = []
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given and tag != "meta"}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADED and given.get(LOADED[tag]) and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(given[LOADED[tag]])
        if tag in ("code", "pre", "script", "style", "math"):
            self.within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.within:
            self.within.remove(tag)

    def handle_data(self, data: str) -> None:
        if not self.within:
            self.text += data
        self.math += data if "math" in self.within else ""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as `make site` does, but for the folder."""
    folder = tmp_path_factory.mktemp("site")
    (line,) = re.findall(r"-m (mkdocs build .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shutil.rmtree(ROOT / "build" / "api", ignore_errors=True)  # as on a machine where nothing was built yet
    words = [sys.executable, "-m", *line.replace(" -q ", " -v ").split(), "-d", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    read = re.findall(r"Loading path (.+)$", done.stderr, re.MULTILINE)
    assert len(read) > 100
    assert [path for path in read if not Path(path).is_relative_to(ROOT / "build" / "api")] == []
    return folder


@cache
def read(folder: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in folder.rglob("*.html")}


def test_every_page_of_the_repository_is_on_it(site):
    sources = [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")),
    ]
    names = {page.relative_to(ROOT).as_posix().removeprefix("docs/").removesuffix(".md") for page in sources}
    names = {name.replace("README", "index") for name in names}
    assert {page.relative_to(site).as_posix().removesuffix(".html") for page in read(site)} == names | {"404"}


def test_every_link_and_anchor_leads_somewhere(site):
    wrong = []
    for file, page in read(site).items():
        if file.name == "404.html":  # its links count from the root of a server
            continue
        for link in page.links:
            path, anchor = urldefrag(link)
            if urlsplit(path).scheme:
                continue
            target = (file.parent / unquote(path)).resolve() if path not in ("", ".") else file
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (anchor and target in read(site) and anchor not in read(site)[target].ids):
                wrong.append(f"{file.relative_to(site)}: {link}")
    assert not wrong


def test_nothing_is_loaded_from_another_host(site):
    pages = read(site)
    loaded = {place for page in pages.values() for place in page.loads}
    assert len(loaded) > 5
    assert not [place for place in loaded if urlsplit(place).scheme not in ("", "data") or place.startswith("//")]
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"""(?:url\(|@import)\s*['"]?(?:https?:)?//""", sheet.read_text()), sheet
    # What the theme's script would fetch, if a page asked for it.
    for file in pages:
        assert not re.search(r'class="mermaid"|data-md-component="source"|unpkg\.com', file.read_text()), file


def test_formulas_and_tables_are_drawn(site):
    formulas = 0
    for file, page in read(site).items():
        text = file.read_text()
        formulas += text.count("<math")
        assert "arithmatex" not in text, file
        assert "\\" not in page.math, file
        assert not re.search(r"\|\s*-{3,}|:(class|func|attr|meth|mod):", page.text), file
    assert formulas > 30


def test_the_docstring_of_every_public_name_is_on_the_page_of_python(site):
    import memaudit

    anchors = read(site)[site / "api.html"].ids
    there = {anchor.rpartition(".")[2] for anchor in anchors if anchor.startswith("memaudit.")}
    assert {*memaudit.__all__, "Attack", "Victim", "Recipe", "Medium", "Card"} <= there


CHROMIUM = shutil.which("chromium")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium on PATH")
def test_a_page_asks_nobody_and_does_not_scroll_sideways(site):
    library = pytest.importorskip("playwright.sync_api")
    asked = []
    with library.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--headless"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        for name in ("attacks", "api", "howto/torchvision"):
            page.goto((site / f"{name}.html").as_uri())
            for width in (1280, 360):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
        browser.close()
    assert len(asked) > 10
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]


def test_the_page_of_the_schema_is_up_to_date():
    words = [sys.executable, str(ROOT / "docs" / "site" / "schema.py")]
    made = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / "report.md").read_text() == made, "run: make docs"
