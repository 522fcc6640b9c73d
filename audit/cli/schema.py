"""``memaudit schema``: what report.json may hold."""

import typer


def schema() -> None:
    """Print the JSON schema of report.json."""
    from ..printable import json_text
    from ..report.file import schema as report_schema

    typer.echo(json_text(report_schema()))
