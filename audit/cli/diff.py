"""``memaudit diff``: what got better or worse between two audits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..report.terms import EXIT_CODES
from .options import AsJson
from .panels import gate, written

if TYPE_CHECKING:
    from rich.console import Console

    from ..trend.model import Diff
    from ..trend.tables import Table

TONES = {"better": "green", "worse": "red", "same": "dim", "unknown": "yellow"}

Earlier = Annotated[Path, typer.Argument(metavar="EARLIER", help="report.json of a finished scan, or its run folder.")]
Later = Annotated[Path, typer.Argument(metavar="LATER", help="The same of a later scan.")]
Formats = Annotated[
    list[str] | None,
    written(
        "--output",
        "-o",
        metavar="[FORMAT=]PATH",
        help="Write the comparison, repeatable: md, html or json by the ending, or FORMAT=PATH.",
    ),
]


def diff(
    earlier: Earlier,
    later: Later,
    output: Formats = None,
    fail_on_worse: Annotated[
        bool,
        gate("--fail-on-worse", help="Exit with 1 where something is clearly worse, with 3 where that cannot be told."),
    ] = False,
    fail_on: Annotated[
        Literal["low", "medium", "high", "critical"] | None,
        gate(help="The same; a finding that is new or more severe counts from this severity on. [default: low]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what got better or worse from an earlier audit to a later one, with 95 % intervals. Runs no attack.

    More that was found is worse. Less is better only where nothing else differs and the later audit is not
    inconclusive; else it cannot be told. Exit code 0, unless --fail-on-worse or --fail-on is given.

    For example:

        memaudit diff memaudit-runs/KEY-1 memaudit-runs/KEY-2
        memaudit diff last-week.json report.json --fail-on-worse -o md=diff.md -o html=diff.html
    """
    from ..outputs import DIFFS, check_outputs, write_diff
    from ..request import parse_outputs
    from ..trend.compare import decide
    from ..trend.compare import diff as compare
    from .console import make_console, print_written
    from .opened import opened

    warn = make_console()
    one, two = opened(earlier, warn), opened(later, warn)
    wanted = check_outputs(parse_outputs(output or ()), group=DIFFS)
    found = compare(one, two)
    console = make_console(answer=not as_json)
    print_diff(console, found)
    print_written(console, [str(path) for path in write_diff(found, wanted)])
    if as_json:
        typer.echo(found.to_json(), nl=False)
    if fail_on_worse or fail_on:
        raise typer.Exit(EXIT_CODES[decide(found, fail_on or "low")])


def print_diff(console: "Console", found: "Diff") -> None:
    """Print both verdicts and what they come to, then a table of each part."""
    from ..trend.tables import METHOD, tables, title
    from .markup import escape
    from .numbers import PLAIN

    console.print(f"[bold {TONES[found.change]}]{escape(title(found))}.[/] {escape(found.sentence)}")
    shown = tables(found)
    for table in shown:
        console.print()
        console.print(f"[bold]{table.title}[/]")
        if table.lines:
            console.print(_drawn(table), soft_wrap=False)
        for note in table.notes:
            console.print(escape(note.translate(PLAIN)))
    if any(table.difference in table.columns for table in shown if table.title in ("Attacks", "Exposure")):
        console.print(f"\n[dim]{escape(METHOD)}[/]")


def _drawn(table: "Table") -> object:
    from rich.table import Table as Drawn

    from .markup import escape
    from .numbers import PLAIN

    drawn = Drawn(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in table.columns:
        drawn.add_column(name.lower(), overflow="fold")
    for line in table.lines:
        cells = [escape(cell.translate(PLAIN)) for cell in table.cells(line)]
        if "Change" in table.columns:
            cells.append(f"[{TONES[line.change]}]{line.word}[/]" if line.change else "")
        drawn.add_row(*cells)
    return drawn
