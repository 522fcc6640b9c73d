"""The one filter for all text from outside."""

import pytest

from memaudit.audit.printable import printable


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
