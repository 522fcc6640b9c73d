"""``memaudit infer``: how a model was trained."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .flat import OptionGroup, flat
from .options import TRAINING, Files, Machine, Network, Out, Pair, Seed, Set, Terminal
from .panels import attacks, inputs, timed, written

if TYPE_CHECKING:
    from ..request import ScanRequest


class Images(OptionGroup):
    """What is known of the training set."""

    data: Annotated[
        str | None, inputs(help="Training set, of which only the number of images is used; as for scan.")
    ] = None


class Search(OptionGroup):
    """How the recipe is searched for."""

    attack: Annotated[
        list[str] | None,
        attacks(
            metavar="NAME", help="Attack whose first steps compare candidates; see memaudit plugins. [default: simudy]"
        ),
    ] = None
    set_: Set = None
    seed: Seed = 0
    max_time: Annotated[float | None, timed(help="Time for the search: 90s, 15m, 2h, 1h30m, or seconds.")] = None


class Place(OptionGroup):
    """Where the search keeps its states."""

    out: Out = None


@flat(request=(Pair, Images, Files, Network, TRAINING, Search, Machine, Place))
def infer(
    ctx: typer.Context,
    request: "ScanRequest",
    terminal: Terminal,
    output: Annotated[
        Path | None, written("--output", "-o", metavar="FILE", help="Write the recipe file here.")
    ] = None,
) -> None:
    """Work out how a model was trained: a table with the evidence on stderr, a file for scan --recipe on stdout.

    Reads what the change of the parameters shows, then searches with short attacks. Reconstructs nothing.

    For example:

        memaudit infer before.pt after.pt > recipe.toml
        memaudit infer before.pt after.pt --epochs 10 --max-time 600 -o recipe.toml
    """
    from ..machine.clock import Deadline
    from ..tasks.infer import infer as run
    from ..tasks.infer import write_recipe
    from .console import Screen, make_console
    from .show import print_inference

    end = Deadline.after(request.max_time, ctx.obj)
    with Screen(make_console(), terminal.verbosity, end) as screen:
        found = run(request, screen, end)
    if output is not None:
        write_recipe(found, output)
    if terminal.as_json:
        typer.echo(found.to_json(), nl=False)
        return
    if not terminal.quiet:
        print_inference(make_console(), found)
    typer.echo(found.to_toml(), nl=False)
