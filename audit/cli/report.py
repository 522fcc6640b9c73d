"""``memaudit report``: a finished scan in other formats."""

from .options import Context, Outputs, Run, ShowEvidenceAgain


def report(
    run: Run,
    output: Outputs = None,
    evidence: ShowEvidenceAgain = None,
    context: Context = None,
) -> None:
    """Render a finished scan again, without running anything."""
    from ..outputs import Look, check_outputs, parse_outputs, read_context, write_each
    from ..report.file import load
    from .console import make_console, print_summary

    found = load(run)
    look = Look(evidence or found.evidence, read_context(context))
    wanted = check_outputs(parse_outputs(output or ()), look)
    folder = run if run.is_dir() else run.parent
    console = make_console()
    for path in write_each(found, folder, wanted, look):
        console.print("Wrote", str(path), markup=False)
    if not wanted:
        print_summary(console, found)
