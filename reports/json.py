"""The report as JSON: what ``memaudit report`` and ``memaudit gate`` read again."""

from pathlib import Path

from ..audit.report import AuditReport
from .files import write_text


def write(report: AuditReport, folder: Path, destination: Path) -> Path:
    """Write ``report`` to ``destination``; the pictures in ``folder`` stay where they are.

    Raises:
        FormatError: The destination cannot be written.
    """
    return write_text(destination, report.to_json())
