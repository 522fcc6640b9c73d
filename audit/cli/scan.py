"""``memaudit scan``: one checkpoint pair, attacked, scored and judged."""

from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Ending
from .flat import OptionGroup, flat
from .options import (
    DATA,
    TRAINING,
    Attacks,
    Control,
    Executor,
    FailIf,
    FailOn,
    Files,
    Iterations,
    Machine,
    Network,
    Open,
    Pair,
    ProfileOption,
    Proofs,
    Reports,
    Terminal,
)
from .panels import inputs, limits, timed

if TYPE_CHECKING:
    from ..machine.clock import Deadline
    from ..request import ScanRequest


class Images(OptionGroup):
    """What reconstructions are compared with."""

    data: Annotated[str | None, inputs(help=DATA)] = None
    control: Control = None


class Limits(OptionGroup):
    """How much a scan may take, and who shares the work."""

    max_time: Annotated[
        float | None,
        timed(help="Time for the whole scan: 90s, 15m, 2h, 1h30m, or seconds."),
    ] = None
    max_iterations: Iterations = None
    executor: Executor = "local"


class Gates(OptionGroup):
    """What fails the audit."""

    fail_if: FailIf = None
    fail_on: FailOn = None


@flat(request=(Pair, Images, Files, Network, TRAINING, Attacks, Limits, Proofs, Machine, Reports, Gates))
def scan(
    ctx: typer.Context,
    request: "ScanRequest",
    ending: Ending,
    terminal: Terminal,
    profile: ProfileOption = None,
    dry_run: Annotated[
        bool, limits("--dry-run", help="Show the plan with times and memory, and stop; nothing is written.")
    ] = False,
    open_: Open = False,
) -> None:
    """Attack a checkpoint pair, match what comes out with the training set, and write a report.

    Only the two checkpoints must be known; everything else is read from them, searched for, or assumed and marked.
    Run the same command again to resume an interrupted scan.

    For example:

        memaudit scan before.pt after.pt
        memaudit scan before.pt after.pt --data train/ --control held-out/ --profile ci
        memaudit scan before.pt after.pt --data train.npz --recipe recipe.toml --attack simudy --restarts 3
        memaudit scan before.pt after.pt --data train/ --fail-on high -o sarif=audit.sarif --evidence none
    """
    from ..machine.clock import Deadline
    from .console import Screen, make_console
    from .outcome import conclude, page, show
    from .verdicts import print_summary

    end = Deadline.after(request.max_time, ctx.obj)
    if dry_run:
        _rehearse(request, terminal, end)
        raise typer.Exit
    from ..scan.pipeline import scan as run

    with Screen(make_console(), terminal.verbosity, end) as screen:
        report = run(request, screen, end)
    conclude(report, screen.written, terminal, print_summary)
    if open_:
        show(page(screen.written))
    ending.leave(report.verdict.status)


def _rehearse(request: "ScanRequest", terminal: Terminal, end: "Deadline") -> None:
    """Print what a scan would do."""
    import math

    from ..printable import json_text
    from ..scan.rehearsal import rehearse
    from .console import Screen, make_console
    from .plan import print_plan, print_search

    with Screen(make_console(), terminal.verbosity, end) as screen:
        found = rehearse(request, screen, end)
    plan = [step.model_dump(mode="json") for step in found.plan]
    if terminal.as_json:
        seconds = found.search if found.search is not None and math.isfinite(found.search) else None
        typer.echo(json_text({"search": found.search is not None, "search_seconds": seconds, "plan": plan}))
        return
    console = make_console(answer=True)
    print_search(console, found.search)
    print_plan(console, plan, end.at - end.began, reasons=terminal.verbosity > 0)
