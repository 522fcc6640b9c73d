"""The exposure of records as CSV: one line for each record, for a spreadsheet or a program.

Text from files is no formula in a spreadsheet: where one could begin, also behind a semicolon, which some spreadsheets
take for the end of a cell, an apostrophe stands before it.
"""

import csv
import io
import re
from pathlib import Path

from ..audit.files import FormatError, write_text
from ..audit.outputs import Look
from ..audit.report.exposure import Exposed
from ..audit.report.model import AuditReport
from ..audit.words import text

HEAD = ("record", "name", "label", "score", "p_value", "q_value", "detected", "leverage")

_FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@＝＋－＠\t\r\n\x00-\x1f])")
"""Where a spreadsheet would begin to compute."""


def write(report: AuditReport, folder: Path, destination: Path, look: Look = Look()) -> Path:  # noqa: B008 - frozen
    """Write a line of :data:`HEAD` and one for each record that was measured, the most exposed first.

    Raises:
        FormatError: The report has no exposure of records, or the destination cannot be written.
    """
    if report.exposure is None:
        raise FormatError(
            f"This report says nothing of the exposure of single {report.kind.words.many}, which csv is made of.",
            "Make one with memaudit exposure, or leave csv out.",
        )
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows(_row(row) for row in report.exposure.per_record)
    return write_text(destination, lines.getvalue(), private=look.evidence != "none")


def _row(row: Exposed) -> tuple[str, ...]:
    numbers = (text(row.score), text(row.p_value), text(row.q_value), str(int(row.detected)), text(row.leverage))
    return (str(row.record), harmless(row.name), harmless(row.label), *numbers)


def harmless(cell: str) -> str:
    """Return text that no spreadsheet computes."""
    return _FORMULA.sub(r"\1'", cell)
