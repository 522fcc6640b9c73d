"""A comparison of two reports as one offline page in the look of the report: no script, no picture, no request."""

from pathlib import Path

from ..audit.files import write_text
from ..audit.trend.model import Diff
from ..audit.trend.sentence import TITLES
from ..audit.trend.tables import METHOD, tables, verdicts
from .html import environment

_TONES = {"better": "pass", "worse": "fail", "unknown": "inconclusive", "same": "quiet"}


def write(found: Diff, destination: Path) -> Path:
    """Write the comparison as a page.

    Raises:
        FormatError: The destination cannot be written.
    """
    return write_text(destination, render(found))


def render(found: Diff) -> str:
    """Return the page."""
    content = {
        "found": found, "title": TITLES[found.change], "verdicts": verdicts(found), "tables": tables(found),
        "tones": _TONES, "method": METHOD,
    }  # fmt: skip
    return environment().get_template("diff.html.j2").render(content)
