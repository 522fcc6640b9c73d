"""``memaudit rules``: by which rules evidence becomes findings."""

import typer

from .options import AsJson


def rules(as_json: AsJson = False) -> None:
    """Print the rules by which evidence becomes findings: stable ids, severities, conditions, what to do."""
    import dataclasses

    from ..printable import json_text
    from ..report.kind import IMAGE
    from ..verdict.rules import rules as told
    from .console import make_console
    from .verdicts import print_rules

    found = list(told(IMAGE).values())
    if as_json:
        typer.echo(json_text([dataclasses.asdict(rule) for rule in found]))
    else:
        print_rules(make_console(answer=True), found)
