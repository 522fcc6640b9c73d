"""``memaudit schema``: what report.json may hold."""

import typer


def schema() -> None:
    """Print the JSON schema of report.json."""
    import json

    from ..report.file import schema as report_schema

    typer.echo(json.dumps(report_schema(), indent=2))
