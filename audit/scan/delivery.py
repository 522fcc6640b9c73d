"""A finished report handed over: written in every format that is wanted, with the pictures that it shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..events import Event, Listener
from ..outputs import Look, Output, check_outputs, read_context, write_outputs
from ..report.model import AuditReport
from ..report.pictures import prune
from ..request import ScanRequest


@dataclass(frozen=True)
class Delivery:
    """The files that a user wants of a report, beside those of every run folder.

    Attributes:
        outputs: Formats and their files.
        look: How the report is shown in all of them.
    """

    outputs: Sequence[Output]
    look: Look

    @classmethod
    def of(cls, request: ScanRequest) -> "Delivery":
        """Return what a request wants, before any work is done. Raises :class:`MemauditError` where it cannot be."""
        look = Look(request.evidence, read_context(request.context))
        return cls(check_outputs(request.outputs, look), look)

    def write(self, report: AuditReport, folder: Path, listener: Listener) -> None:
        """Write a report into its run folder and to every other wanted place."""
        for path in write_outputs(report, folder, self.outputs, self.look):
            listener(Event("report", str(path)))

    def deliver(self, report: AuditReport, folder: Path, listener: Listener) -> AuditReport:
        """Write a scan's report and delete the pictures that it does not show; return it."""
        hidden = self.look.evidence == "none"
        if hidden:
            prune(folder, ())
        self.write(report, folder, listener)
        if not hidden:
            prune(folder, report.pictures())
        return report
