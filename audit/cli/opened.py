"""A report opened to decide from, with a warning where it is not as it was written."""

from pathlib import Path

from rich.console import Console

from ..report.file import read
from ..report.model import AuditReport
from ..verdict.verify import sealed
from .markup import escape


def opened(path: Path, console: Console) -> AuditReport:
    """Read a report to decide from it; warn where it is not as it was written. Raises :class:`.model.ReportError`."""
    report, content = read(path)
    if (seal := sealed(report, content)).status == "differs":
        console.print(f"[yellow]warning:[/] {escape(seal.detail)}; see memaudit verify.")
    return report
