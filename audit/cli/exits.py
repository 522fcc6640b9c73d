"""What exit codes mean, and the options that change them."""

from typing import Annotated, NoReturn

import typer

from ..report.terms import EXIT_CODES
from .flat import OptionGroup
from .panels import gate

EPILOG = (
    "Exit codes: 0 passed, 1 gate failed (training data leaked), 2 usage or input error, "
    "3 inconclusive, 130 interrupted (run the same command to resume)."
)


class Ending(OptionGroup):
    """Which exit code a verdict gives."""

    exit_zero: Annotated[
        bool, gate("--exit-zero", help="Exit with 0 whatever the verdict: report, do not gate. Errors still count.")
    ] = False
    allow_inconclusive: Annotated[
        bool, gate("--allow-inconclusive", help="Exit with 0 instead of 3 when the audit is inconclusive.")
    ] = False

    def leave(self, status: str) -> NoReturn:
        """Exit with the code of a verdict; where an option changes it, say so on stderr, whatever else is quiet."""
        code = EXIT_CODES[status]
        if code and (self.exit_zero or (self.allow_inconclusive and status == "inconclusive")):
            option = "--exit-zero" if self.exit_zero else "--allow-inconclusive"
            typer.echo(f"Exit code 0 by {option}, although the verdict is {status}.", err=True)
            code = 0
        raise typer.Exit(code)
