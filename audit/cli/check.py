"""``memaudit check``: whether the data are those that the model was trained on."""

from typing import TYPE_CHECKING, Annotated

import typer

from .flat import OptionGroup, flat
from .options import DATA, TRAINING, Control, Device, Files, Network, Pair, Terminal
from .panels import inputs, limits

if TYPE_CHECKING:
    from ..request import ScanRequest

STATUS = {True: "pass", False: "inconclusive", None: "inconclusive"}
"""The exit codes are those of a verdict: 0 where the data explain the change, else 3."""


class Images(OptionGroup):
    """What is checked, and beside what."""

    data: Annotated[str | None, inputs(help=DATA)] = None
    control: Control = None


class Machine(OptionGroup):
    """Where it is computed."""

    device: Device = "auto"
    max_memory: Annotated[str | None, limits(metavar="SIZE", help="Most memory that the process may use.")] = None


@flat(request=(Pair, Images, Files, Network, TRAINING, Machine))
def check(request: "ScanRequest", terminal: Terminal) -> None:
    """Say whether the data, prepared this way, explain what training changed. Runs no attack; takes seconds.

    Exit code 0 where they do and 3 where they do not or that cannot be told. Give held-out images as well.

    For example:

        memaudit check before.pt after.pt --data train/ --control held-out/
        memaudit check before.pt after.pt --data train/ --control held-out/ --preprocess center-crop --exif apply
    """
    from ..report.terms import EXIT_CODES
    from ..tasks.check import check as run
    from .console import Screen, make_console
    from .show import print_check

    with Screen(make_console(), terminal.verbosity) as screen:
        found = run(request, screen)
    if terminal.as_json:
        typer.echo(found.to_json(), nl=False)
    else:
        print_check(make_console(answer=True), found, brief=terminal.quiet)
    raise typer.Exit(EXIT_CODES[STATUS[found.check.explained]])
