"""``memaudit report``: a finished scan in other formats."""

from typing import Annotated

from ..report.terms import Evidence
from .options import SEEN, Context, Outputs, Run
from .panels import written


def report(
    run: Run,
    output: Outputs = None,
    evidence: Annotated[Evidence | None, written("--evidence", help=f"{SEEN} [default: the scan's]")] = None,
    context: Context = None,
) -> None:
    """Render a finished scan again, without running anything.

    For example:

        memaudit report memaudit-runs/KEY -o html=audit.html -o pdf=audit.pdf
        memaudit report report.json -o dpia=dpia.md --context company.toml
    """
    from ..outputs import Look, check_outputs, read_context, write_each
    from ..request import parse_outputs
    from .console import make_console, print_written
    from .opened import opened
    from .verdicts import print_summary

    found = opened(run, make_console())
    look = Look(evidence or found.evidence, read_context(context))
    wanted = check_outputs(parse_outputs(output or ()), look)
    folder = run if run.is_dir() else run.parent
    console = make_console(answer=True)
    print_written(console, [str(path) for path in write_each(found, folder, wanted, look)])
    if not wanted:
        print_summary(console, found)
