"""What the site does beside mkdocs: pages of the repository root, formulas as MathML, links for both places."""

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ("__init__.py", "attacks", "audit")
ROOT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):<code>[~\w.]*?(\w+)</code>")
"""Docstrings follow Sphinx in this one thing, for editors."""


@event_priority(100)  # before mkdocstrings: where it finds no such folder, it reads the whole checkout, `.venv` and all
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give the reader of docstrings the package alone, under its name: the root of the repository holds much else."""
    package = ROOT / "build" / "api" / "memaudit"
    package.mkdir(parents=True, exist_ok=True)
    for name in PACKAGE:
        link = package / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie at the root of the repository."""
    for name in ROOT_PAGES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links that hold in the repository into those of the site; what is not on the site is named, not linked."""
    here = page.file.src_uri
    folder = posixpath.dirname(here if here in ROOT_PAGES else f"docs/{here}")

    def turned(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        target = target.removeprefix("docs/") if target not in ROOT_PAGES else target
        if (ROOT / "docs" / target / "README.md").is_file():
            target += "/README.md"
        on_site = target in ROOT_PAGES or (ROOT / "docs" / target).is_file()
        return (
            f"[{link[1]}]({posixpath.relpath(target, posixpath.dirname(here))}{link[3] or ''})" if on_site else link[1]
        )

    parts = FENCE.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(turned, part) for part in parts)


def on_page_content(content: str, **_: Any) -> str:
    """Make MathML of formulas, and plain names of what docstrings refer to."""
    content = ROLE.sub(r"<code>\1</code>", FORMULA.sub(_drawn, content))
    return content.replace("<p>::</p>\n", "").replace("::</p>", ":</p>")


def _drawn(formula: re.Match[str]) -> str:
    display = "block" if formula[1] == "div" else "inline"
    return convert(html.unescape(formula[2].strip()[2:-2]), display=display)
