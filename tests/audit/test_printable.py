"""The one filter for all text from outside."""

import json
import re

import pytest

from memaudit.audit.printable import json_text, printable

from ..laws.source import ROOT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("résumé of a dog 🐶", "résumé of a dog 🐶"),
        ("a\x1b[31m\nb\r", r"a\x1b[31m\nb\r"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("half \ud800", r"half \ud800"),
        ("::error::now", ": :error::now"),
        ("x ::set-output name=a::b", "x : :set-output name=a::b"),
        ("##[group]a ##vso[task]", "# #[group]a # #vso[task]"),
        ("test.py::name, C::D", "test.py::name, C::D"),
        ("\u00a0\u2028\u200b", r"\xa0\u2028\u200b"),
        (r"C:\new", r"C:\new"),
    ],
)
def test_what_does_not_print_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_overlong_text_is_cut():
    assert printable("x" * 10**6, 10) == "xxxxxxxxxx…"
    assert len(printable("\x1b" * 10**6)) < 10**4


def test_json_is_ascii_and_its_texts_are_as_they_were():
    said = {"a": ["\x1b[31m", "\x9b1m", "\x7f", "\u202e", "é", "\ud800", "##[group]", "##vso[task]", "a#b", "\\#["]}
    text = json_text(said)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert not re.search(r"##(\[|vso)", text)
    assert json.loads(text) == said


def test_json_for_people_and_files_is_written_in_one_place():
    other = re.compile(r"dumps\([^\n]*indent=|dump_json\(indent=|print_json")
    found = [path for folder in ("audit", "reports") for path in (ROOT / folder).rglob("*.py")
             if other.search(path.read_text())]  # fmt: skip
    assert [path.name for path in found] == ["printable.py"]
