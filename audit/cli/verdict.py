"""``memaudit gate``, ``rules`` and ``verify``: what a finished scan decides, why, and whether it is genuine."""

from typing import Annotated

import typer

from .options import EXIT_CODES, AllowInconclusive, AsJson, ExitZero, FailIf, FailOn, Report, exit_code


def gate(
    report: Report,
    fail_if: FailIf = None,
    fail_on: FailOn = None,
    exit_zero: ExitZero = False,
    allow_inconclusive: AllowInconclusive = False,
    as_json: AsJson = False,
) -> None:
    """Decide again from a report, with other thresholds if wanted; needs no GPU and runs no attack."""
    from .. import plugins
    from ..verdict.expression import parse, wanted
    from ..verdict.gate import judge
    from .console import COLOURS, make_console
    from .opened import opened

    console = make_console()
    found = opened(report, console)
    attacks = [*{*plugins.available("memaudit.attacks"), *(attack.name for attack in found.attacks)}]
    asked = wanted(fail_if or (), fail_on) if fail_if or fail_on else [g.expression for g in found.verdict.gates]
    gates = [parse(text, attacks, [found.kind]) for text in asked]
    verdict = judge(found.attacks, gates, found.kind, found.plan, found.findings)
    for result in verdict.gates:
        console.print(f"[{COLOURS[result.status]}]{result.status}[/] ", end="")
        console.print(f"{result.expression}: {result.reason}", markup=False)
    if as_json:
        typer.echo(verdict.model_dump_json(indent=2))
    raise typer.Exit(exit_code(verdict.status, exit_zero, allow_inconclusive))


def rules(as_json: AsJson = False) -> None:
    """Print the rules by which evidence becomes findings: stable ids, severities, conditions, what to do."""
    import dataclasses
    import json

    from ..report.kind import IMAGE
    from ..verdict.rules import rules as told
    from .console import make_console, print_rules

    found = list(told(IMAGE).values())
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(rule) for rule in found], indent=2))
    else:
        print_rules(make_console(answer=True), found)


def verify(
    reports: Annotated[
        list[str], typer.Argument(metavar="REPORT...", help="report.json of a finished scan, or its run folder.")
    ],
    before: Annotated[
        str | None, typer.Option(help="Checkpoint before training. [default: the one that the report names]")
    ] = None,
    after: Annotated[
        str | None, typer.Option(help="Checkpoint after training. [default: the one that the report names]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that a report is as memaudit wrote it, and of these checkpoints. Exit code 1 where anything differs.

    It compares the report with its own digest, the pictures with the digests in their names, and the checkpoints with
    the digests in the report. A digest is no signature: it shows accidents, not a forger who computes a new one.
    """
    import dataclasses
    import json
    from pathlib import Path

    from ..verdict.verify import verify as check
    from .console import make_console

    found = {path: check(Path(path), before, after) for path in reports}
    console, colours = make_console(), {"ok": "green", "differs": "red", "unchecked": "yellow"}
    for path, checks in found.items():
        for item in checks:
            console.print(f"[{colours[item.status]}]{item.status:9}[/] ", end="")
            console.print(f"{path}: {item.what}: {item.detail}", markup=False)
    if as_json:
        plain = {path: [dataclasses.asdict(item) for item in checks] for path, checks in found.items()}
        typer.echo(json.dumps(plain, indent=2))
    differs = any(item.status == "differs" for checks in found.values() for item in checks)
    raise typer.Exit(EXIT_CODES["fail" if differs else "pass"])
