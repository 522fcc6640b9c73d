"""``memaudit report``: a finished scan in other formats."""

from .options import Context, Outputs, Run, ShowEvidence


def report(
    run: Run,
    output: Outputs = None,
    evidence: ShowEvidence = "full",
    context: Context = None,
) -> None:
    """Render a finished scan again, without running anything."""
    from ..console import make_console, print_summary
    from ..outputs import Look, check_outputs, parse_outputs, read_context
    from ..report import load

    found = load(run)
    wanted = check_outputs(parse_outputs(output or ()))
    look = Look(evidence, read_context(context))
    folder = run if run.is_dir() else run.parent
    console = make_console()
    for item in wanted:
        console.print("Wrote", str(item.write(found, folder, item.path, look)), markup=False)
    if not wanted:
        print_summary(console, found)
