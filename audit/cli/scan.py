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
    Pair,
    ProfileOption,
    Reports,
    Terminal,
)
from .panels import inputs, timed

if TYPE_CHECKING:
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


@flat(request=(Pair, Images, Files, Network, TRAINING, Attacks, Limits, Machine, Reports, Gates))
def scan(
    request: "ScanRequest",
    ending: Ending,
    terminal: Terminal,
    profile: ProfileOption = None,
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
    from ..scan.pipeline import scan as run
    from .console import Screen, make_console
    from .verdicts import print_summary

    console = make_console()
    with Screen(console, terminal.verbosity) as screen:
        report = run(request, screen)
    print_summary(console, report)
    if terminal.as_json:
        typer.echo(report.to_json(), nl=False)
    ending.leave(report.verdict.status)
