"""A release says its version in one voice, and its changelog is in order."""

import re
import tomllib
from datetime import date

import pytest

import memaudit

from .source import ROOT

yaml = pytest.importorskip("yaml", reason="the extra dev is not installed")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
"""Of Keep a Changelog, in its order."""
RELEASES = re.findall(r"^## \[([\d.]+)\] - (\d{4}-\d\d-\d\d)$", CHANGELOG, re.MULTILINE)
SECTIONS = dict(re.findall(r"^## \[(.+?)\].*\n((?:(?!## ).*\n)*)", CHANGELOG, re.MULTILINE))


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_every_place_says_the_same_version(citation):
    newest = RELEASES[0][0]
    assert PROJECT["version"] == memaudit.__version__ == newest == citation["version"]
    told = set(re.findall(r"(?:@|rev: )v(\d[\w.]+)", (ROOT / "docs" / "ci.md").read_text()))
    assert told == {newest}


def test_the_citation_has_what_the_format_asks_for(citation):
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["message"]
    assert citation["title"] == PROJECT["name"]
    assert citation["license"] == PROJECT["license"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert citation["date-released"] == RELEASES[0][1]
    assert citation["authors"] == [{"name": "The memaudit authors"}]
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert paper["authors"][0]["family-names"] == "Tian"
    assert paper["title"] in (ROOT / "README.md").read_text()


def test_releases_go_from_the_newest_to_the_oldest():
    assert list(SECTIONS) == ["Unreleased", *(version for version, _ in RELEASES)]
    days = [date.fromisoformat(day) for _, day in RELEASES]
    assert days == sorted(days, reverse=True)


@pytest.mark.parametrize("version", SECTIONS)
def test_a_release_has_each_kind_of_change_once_and_in_order(version):
    kinds = re.findall(r"^### (.+)$", SECTIONS[version], re.MULTILINE)
    assert kinds == [kind for kind in KINDS if kind in kinds]
    assert kinds or version == "Unreleased"
    for part in re.split(r"^### .+$", SECTIONS[version], flags=re.MULTILINE)[1:]:
        lines = [line for line in part.splitlines() if line]
        assert lines[0].startswith("- ")
        assert all(line.startswith(("- ", "  ")) for line in lines)
