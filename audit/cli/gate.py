"""``memaudit gate``: what a finished scan decides, with other thresholds if wanted."""

import typer

from .exits import Ending
from .flat import flat
from .options import AsJson, FailIf, FailOn, Report


@flat()
def gate(
    report: Report, *, fail_if: FailIf = None, fail_on: FailOn = None, ending: Ending, as_json: AsJson = False
) -> None:
    """Decide again from a report, with other thresholds if wanted; needs no GPU and runs no attack.

    For example:

        memaudit gate memaudit-runs/KEY --fail-on high
        memaudit gate report.json --fail-if 'recovered>0' --fail-if 'simudy.ssim_max>=0.4'
    """
    import json

    from .. import plugins
    from ..printable import json_text
    from ..verdict.expression import parse, wanted
    from ..verdict.gate import judge
    from ..verdict.sentence import phrased
    from .console import COLOURS, make_console
    from .opened import opened

    console = make_console(answer=not as_json)
    found = opened(report, make_console())
    attacks = [*{*plugins.available("memaudit.attacks"), *(attack.name for attack in found.attacks)}]
    asked = wanted(fail_if or (), fail_on) if fail_if or fail_on else [g.expression for g in found.verdict.gates]
    gates = [parse(text, attacks, [found.kind]) for text in asked]
    decided = judge(found.attacks, gates, found.kind, found.plan, found.findings, found.power, found.exposure)
    verdict = phrased(found.model_copy(update={"verdict": decided}))
    for result in verdict.gates:
        console.print(f"[{COLOURS[result.status]}]{result.status}[/] ", end="")
        console.print(f"{result.expression}: {result.reason}", markup=False)
    if as_json:
        typer.echo(json_text(json.loads(verdict.model_dump_json())))
    ending.leave(verdict.status)
