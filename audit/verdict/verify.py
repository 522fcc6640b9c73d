"""Is a report what memaudit wrote, and of these checkpoints? Needs torch only where a checkpoint is given."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from ..report.facts import Checkpoint as Recorded
from ..report.file import read
from ..report.model import AuditReport, content_digest
from ..report.pictures import DIGITS, inside
from ..report.upgrade import told_findings


@dataclass(frozen=True)
class Check:
    """One thing that was compared.

    Attributes:
        what: Its name.
        status: ``ok``; ``differs`` from what the report says; ``unchecked`` where there was nothing to compare with.
        detail: What was found, in words.
    """

    what: str
    status: Literal["ok", "differs", "unchecked"]
    detail: str


def verify(
    path: Path, before: str | None = None, after: str | None = None, tell: Callable[[str], None] = lambda path: None
) -> list[Check]:
    """Compare a report with its own digest, with the pictures beside it, and with checkpoints.

    Args:
        path: A ``report.json``, or the run folder.
        before: The checkpoint before training; the file that the report names, if it is there, by default.
        after: The same of the one after training.
        tell: Called with each path that only the report names, before it is opened.

    Raises:
        ReportError: The file is not a report.
        CheckpointError: A checkpoint cannot be read safely.
    """
    report, content = read(path)
    folder = path if path.is_dir() else path.parent
    checks = [sealed(report, content), _pictures(report, folder)]
    roles = (("before", report.inputs.before, before), ("after", report.inputs.after, after))
    return [*checks, *(_checkpoint(role, recorded, given, tell) for role, recorded, given in roles)]


def sealed(report: AuditReport, content: Mapping[str, Any]) -> Check:
    """Compare the digest in a report with that of its content as found in the file."""
    found = content_digest(content)
    if not report.content_sha256 and not told_findings(content):
        return Check("content", "unchecked", f"a report of schema {content['schema_version']} has no digest")
    if report.content_sha256 != found:
        return Check("content", "differs", "the report was changed after memaudit wrote it")
    return Check("content", "ok", f"sha256 {found}")


def _pictures(report: AuditReport, folder: Path) -> Check:
    paths = sorted(filter(None, report.pictures()))
    there = [path for path in paths if inside(folder, path)]
    altered = [path for path in there if _digest(folder / path) != Path(path).stem.rpartition("-")[2]]
    if altered:
        return Check("pictures", "differs", f"{len(altered)} of {len(there)} were changed, such as {altered[0]}")
    if len(there) < len(paths):
        return Check("pictures", "unchecked", f"{len(paths) - len(there)} of {len(paths)} are not beside the report")
    return Check("pictures", "ok", f"{len(paths)} as they were written")


def _digest(path: Path) -> str:
    """Return the digest that is part of a picture's name; empty for what is not a picture."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            planes = picture.split()
            return hashlib.sha256(b"".join(plane.tobytes() for plane in planes)).hexdigest()[:DIGITS]
    except Exception:  # damaged files fail in any way
        return ""


def _checkpoint(role: str, recorded: Recorded, given: str | None, tell: Callable[[str], None]) -> Check:
    path = given or recorded.path
    if given is None and not os.path.exists(path):
        return Check(role, "unchecked", f"{path} is not here; name it with --{role}")
    if given is None:
        tell(path)
    from ..checkpoints.pair import digests

    found = digests(path)
    if recorded.sha256 not in found:
        return Check(role, "differs", f"{path} has sha256 {found[-1]}, the audited file {recorded.sha256}")
    return Check(role, "ok", f"{path}, sha256 {recorded.sha256}")
