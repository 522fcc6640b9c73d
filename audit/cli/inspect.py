"""``memaudit inspect``: what checkpoints are."""

from typing import Annotated

import typer

from ... import MemauditError
from ..checkpoints.existing import existing
from .flat import flat
from .options import AsJson, Network
from .panels import inputs


@flat()
def inspect(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="BEFORE [AFTER]",
            help="Checkpoints before and after training; with --each any number of them, and folders.",
        ),
    ],
    network: Network,
    each: Annotated[
        bool,
        inputs(
            "--each",
            help="Only check that each file, and each checkpoint in a folder, loads without executing anything; "
            "exit code 2 if not.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what the checkpoints are: architecture, tensors, digests, and how far each tensor moved. Runs no attack.

    For example:

        memaudit inspect before.pt after.pt
        memaudit inspect --each models/*.safetensors
        memaudit inspect --each downloads/my-model
    """
    if each:
        if network.model != "auto" or network.image_size is not None or network.key:
            raise MemauditError(
                "inspect --each looks at files, not at networks.", "Leave out --model, --image-size and --key."
            )
        raise typer.Exit(_each(files, as_json))
    if len(files) > 2:
        raise MemauditError(f"inspect compares two checkpoints, and {len(files)} were given.", "Add --each.")
    for file in files:
        existing(file)  # before torch is imported, which takes seconds
    from ..printable import json_text
    from ..tasks.inspect import inspect as look
    from .console import make_console
    from .show import print_inspection

    pair = look(files[0], next(iter(files[1:]), None), network.model, network.image_size, network.key)
    if as_json:
        typer.echo(json_text(pair))
    else:
        print_inspection(make_console(answer=True), pair)


def _each(files: list[str], as_json: bool) -> int:
    """Print a line for each file that loads and an error for each that does not; return the exit code."""
    from ..printable import json_text, printable
    from ..tasks.inspect import check_each
    from .console import make_console, print_error

    rows, errors = check_each(files)
    lines = [
        f"{row['path']}: {row['format']}, {row['tensors']} tensors, sha256 {row['sha256']}"
        if row["format"]
        else f"{row['path']}: no checkpoint"
        for row in rows
    ]
    for line in [json_text(rows)] if as_json else lines:
        typer.echo(line if as_json else printable(line))
    for error in errors:
        print_error(make_console(), error)
    return 2 if errors else 0
