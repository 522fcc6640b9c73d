"""``memaudit exposure``: which records the change betrays, also where nothing can be rebuilt."""

from typing import TYPE_CHECKING, Annotated

from .exits import Ending
from .flat import OptionGroup, flat
from .options import (
    TRAINING,
    Control,
    Device,
    Executor,
    FailOn,
    Files,
    Network,
    Open,
    Pair,
    Reports,
    Terminal,
)
from .panels import gate, inputs, limits, timed

if TYPE_CHECKING:
    from ..request import ScanRequest


class Records(OptionGroup):
    """Which records are held against which."""

    data: Annotated[str | None, inputs(help="Records in question, such as the training set; as of memaudit scan.")] = (
        None
    )
    control: Control = None


class Limits(OptionGroup):
    """How much it may take, and where it is computed."""

    max_time: Annotated[float | None, timed(help="Time for all of it: 90s, 15m, 2h, 1h30m, or seconds.")] = None
    max_memory: Annotated[str | None, limits(metavar="SIZE", help="Most memory that the process may use.")] = None
    device: Device = "auto"
    executor: Executor = "local"


class Gates(OptionGroup):
    """What fails the audit."""

    fail_if: Annotated[
        list[str] | None,
        gate(
            help="Gate, repeatable: detected, detected_fraction, exposed_at_least or exposure.tpr_at_1_fpr, such as "
            "'exposure.tpr_at_1_fpr>0.05'. [default: detected>0]"
        ),
    ] = None
    fail_on: FailOn = None


@flat(request=(Pair, Records, Files, Network, TRAINING, Limits, Reports, Gates))
def exposure(
    request: "ScanRequest",
    ending: Ending,
    terminal: Terminal,
    group: Annotated[
        str | None, inputs(metavar="FILE", help="CSV, NAME,GROUP on each line: exposure is told for each group.")
    ] = None,
    assigned_at_random: Annotated[
        bool,
        inputs(
            "--assigned-at-random",
            help="A coin decided which records of --data and --control were trained on: give a bound on epsilon.",
        ),
    ] = False,
    open_: Open = False,
) -> None:
    """Say which records of --data the change betrays, beside held-out ones: one regression on their gradients.

    For fine-tunings on hundreds or thousands of records, under any optimiser, where nothing can be rebuilt. Takes
    minutes and trains no model. Exact p-values come from --control: 1,000 held-out records or more are best.

    For example:

        memaudit exposure before.pt after.pt --data train/ --control held-out/
        memaudit exposure before.pt after.pt --data train/ --control held-out/ --fail-if 'exposure.tpr_at_1_fpr>0.05'
    """
    from ..machine.clock import Deadline
    from ..tasks.exposure import Expose, expose
    from .console import Screen, make_console
    from .exposed import print_exposure
    from .outcome import conclude, page, show

    end = Deadline.after(request.max_time)
    with Screen(make_console(), terminal.verbosity, end) as screen:
        report = expose(request, Expose(group, assigned_at_random), screen, end)
    conclude(report, screen.written, terminal, print_exposure)
    if open_:
        show(page(screen.written))
    ending.leave(report.verdict.status)
