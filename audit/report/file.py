"""A report as a file: read, checked against its version, described by a schema. No torch here."""

import json
import math
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..files import read_regular
from ..plugins import one_line
from .model import SCHEMA_ID, SCHEMA_VERSION, AuditReport, ReportError, content_digest
from .upgrade import READ, told_findings, upgraded

LARGEST = 2**28
"""Bytes; a larger file is no report."""


def schema() -> dict[str, Any]:
    """Return the JSON schema of :class:`AuditReport` (draft 2020-12)."""
    found = AuditReport.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **found}


def load(path: str | Path) -> AuditReport:
    """Read a report, or the report of a run folder. Raises :class:`ReportError`."""
    return read(Path(path))[0]


def read(path: Path) -> tuple[AuditReport, dict[str, Any]]:
    """Read a report, or the report of a run folder; return it and its content as found in the file.

    A report of an older version comes as this version would have written it; its content stays as it is.

    Raises:
        ReportError: The file is not there, is not a report, or is one of a major version that this one does not know.
    """
    path = path / "report.json" if path.is_dir() else path
    try:
        content = json.loads(read_regular(path, LARGEST).decode())
        json.dumps(content, ensure_ascii=False).encode()  # halves of surrogate pairs could not be written again
        version = str(content["schema_version"])
        if version.split(".")[0] not in (*READ, SCHEMA_VERSION.split(".")[0]):
            raise ReportError(
                f"{path} has report schema {version}; this memaudit reads up to {SCHEMA_VERSION}.",
                "Install a matching version.",
            )
        found = AuditReport.model_validate(upgraded(content)).at(path.parent)
        if not _finite(found.model_dump()):
            raise ValueError("it has NaN or infinity for a number, which JSON does not have")
        return found.altered() if told_findings(content) and _differs(content) else found, content
    except FileNotFoundError:
        raise ReportError(f"{path} does not exist.", "Pass a report.json or the folder of a finished scan.") from None
    except ReportError:
        raise
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read ({error.strerror}).", "Pass a report.json or the folder of a finished scan."
        ) from None
    except Exception as error:  # any file may be passed here, and damaged JSON fails in any way
        raise ReportError(
            f"{path} is not a memaudit report ({_first_line(error)}).", "Pass a report.json written by memaudit scan."
        ) from None


def _finite(part: Any) -> bool:
    """Return whether a part of a report could be written again: a text, too, may be read as NaN or as infinity."""
    if isinstance(part, dict | list | tuple):
        return all(map(_finite, part.values() if isinstance(part, dict) else part))
    return not isinstance(part, float) or math.isfinite(part)


def _differs(content: dict[str, Any]) -> bool:
    return bool(content.get("content_sha256", "") != content_digest(content))


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return one_line(error)
