"""Prints docs/report.md, the schema of report.json as a page to read: `make docs`."""

import json
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).resolve().parents[1] / "report-schema.json"

HEAD = """# The report, field by field

`report.json` is what a scan writes for programs; every other format is made from it. This page is its schema, version
{version}, written out by `make docs` from [report-schema.json](report-schema.json), which `memaudit schema` prints as
well. What the values mean together is told in [the verdict](verdict.md#the-report), with what changed since version 1.
Fields in **bold** are always there; the others have the default that is shown.
"""


def page(schema: dict[str, Any]) -> str:
    """Return the page of a JSON schema as pydantic writes it."""
    parts = [HEAD.format(version=schema["properties"]["schema_version"]["default"]), *_section(schema["title"], schema)]
    for name, part in sorted(schema["$defs"].items()):
        parts += _section(name, part)
    return "\n".join(parts)


def _section(name: str, part: dict[str, Any]) -> list[str]:
    told = [f"## {name}", "", " ".join(part.get("description", "").split()), ""]
    if "properties" not in part:
        return [*told, f"{_kind(part)}.", ""]
    needed = part.get("required", ())
    rows = [_row(field, value, field in needed) for field, value in part["properties"].items()]
    return [*told, "| field | value | default | meaning |", "|---|---|---|---|", *rows, ""]


def _row(field: str, value: dict[str, Any], needed: bool) -> str:
    default = "" if "default" not in value else f"`{json.dumps(value['default'])}`"
    about = " ".join(value.get("description", "").split()).replace("|", "\\|")
    return f"| {'**' * needed}`{field}`{'**' * needed} | {_kind(value)} | {default} | {about} |"


def _kind(value: dict[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in value or "const" in value:
        return ", ".join(f"`{json.dumps(word)}`" for word in value.get("enum", [value.get("const")]))
    if "anyOf" in value or "oneOf" in value:
        return " or ".join(_kind(one) for one in value.get("anyOf") or value["oneOf"])
    if value.get("type") == "array":
        inner = [_kind(one) for one in value.get("prefixItems", ())] or [_kind(value.get("items", {}))]
        return f"list of {', '.join(inner)}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"{_kind(value['additionalProperties'])}, by name"
    return str(value.get("type", "anything"))


if __name__ == "__main__":
    print(page(json.loads(SCHEMA.read_text())))
