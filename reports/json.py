"""The report as JSON: what ``memaudit report`` and ``memaudit gate`` read again."""

from pathlib import Path

from ..audit.files import write_text
from ..audit.outputs import Look
from ..audit.report.model import AuditReport


def write(report: AuditReport, folder: Path, destination: Path, look: Look = Look()) -> Path:  # noqa: B008 - frozen
    """Write the report as data (see memaudit schema); the pictures stay in the run folder.

    Raises:
        FormatError: The destination cannot be written.
    """
    return write_text(destination, report.to_json())
