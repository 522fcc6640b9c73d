"""``memaudit gate``: what a finished scan decides."""

import typer

from .options import EXIT_CODES, AsJson, FailIf, Report


def gate(
    report: Report,
    fail_if: FailIf = None,
    as_json: AsJson = False,
) -> None:
    """Decide again from a report, with other thresholds if wanted; needs no GPU and runs no attack."""
    from .. import plugins
    from ..console import COLOURS, make_console
    from ..gate import judge, parse
    from ..report import load

    found = load(report)
    attacks = [*plugins.available("memaudit.attacks"), *(attack.name for attack in found.attacks)]
    texts = fail_if or [result.expression for result in found.verdict.gates]
    verdict = judge(found.attacks, [parse(text, attacks) for text in texts], found.plan)
    console = make_console()
    for result in verdict.gates:
        console.print(f"[{COLOURS[result.status]}]{result.status}[/] ", end="")
        console.print(result.reason, markup=False)
    if as_json:
        typer.echo(verdict.model_dump_json(indent=2))
    raise typer.Exit(EXIT_CODES[verdict.status])
