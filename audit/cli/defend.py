"""``memaudit defend``: what a pair leaks once the published change is altered."""

from typing import TYPE_CHECKING, Annotated

from ..verdict.levels import BITS, NOISE
from .flat import OptionGroup, flat
from .options import (
    DATA,
    TRAINING,
    Attacks,
    Control,
    Files,
    Iterations,
    Machine,
    Network,
    Open,
    Pair,
    Reports,
    Terminal,
)
from .panels import defences, inputs, timed

if TYPE_CHECKING:
    from ..request import ScanRequest


class Images(OptionGroup):
    """What reconstructions are compared with."""

    data: Annotated[str, inputs(help=DATA)]
    control: Control = None


class Limits(OptionGroup):
    """How much each scan may take."""

    max_time: Annotated[float | None, timed(help="Time for each of the scans: 90s, 15m, 2h, 1h30m, or seconds.")] = None
    max_iterations: Iterations = None


@flat(request=(Pair, Images, Files, Network, TRAINING, Attacks, Limits, Machine, Reports))
def defend(
    request: "ScanRequest",
    terminal: Terminal,
    noise: Annotated[
        str | None,
        defences(
            metavar="SD,...",
            help="Add Gaussian noise of these standard deviations, as multiples of the root mean square of the "
            f"change. [default: {NOISE}, if --bits is not given]",
        ),
    ] = None,
    bits: Annotated[
        str | None,
        defences(
            metavar="B,...",
            help=f"Round the change of each tensor to this many bits. [default: {BITS}, if --noise is not given]",
        ),
    ] = None,
    test: Annotated[str | None, defences(help="Labelled images to measure accuracy on; same forms as --data.")] = None,
    open_: Open = False,
) -> None:
    """Measure what a pair leaks as it is and with its change altered: noise added to it, or rounded to few bits.

    Scans the pair, then each altered pair with the recipe that was learned, and writes one report with the curve. A
    measurement, not a gate: exit code 0 whatever leaks, 2 for unusable input, 130 interrupted; the same command
    resumes. A lower leak means that these attacks did worse, not that the model is safe.

    For example:

        memaudit defend before.pt after.pt --data train/ --control held-out/
        memaudit defend before.pt after.pt --data train/ --noise 0.01,0.1,1 --test test/
    """
    from ..tasks.alter import parse_defences
    from ..tasks.defend import defend as run
    from .console import Screen, make_console
    from .outcome import conclude, page, show
    from .show import print_defences

    measured = parse_defences(*((NOISE, BITS) if noise is None and bits is None else (noise, bits)))
    with Screen(make_console(), terminal.verbosity) as screen:
        found = run(request, measured, test, screen)
    conclude(found, screen.written, terminal, print_defences)
    if open_:
        show(page(screen.written))
