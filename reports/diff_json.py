"""A comparison of two reports as JSON, for programs."""

from pathlib import Path

from ..audit.files import write_text
from ..audit.trend.model import Diff


def write(found: Diff, destination: Path) -> Path:
    """Write the comparison as data.

    Raises:
        FormatError: The destination cannot be written.
    """
    return write_text(destination, found.to_json())
