"""The command line: a thin layer over the Python API. Torch is imported only inside the commands that need it."""

import io
import os
import re
import sys
import time
from typing import Annotated, NoReturn

import typer

from ... import MemauditError, __version__
from ..machine import interrupt
from .baseline import baseline
from .check import check
from .command import Command
from .defend import defend
from .demo import demo
from .diff import diff
from .exits import EPILOG
from .exposure import exposure
from .gate import gate
from .group import Group
from .infer import infer
from .inspect import inspect
from .linearity import linearity
from .many import scan_many
from .plugins import plugins
from .report import report
from .rules import rules
from .runs import runs
from .scan import scan
from .schema import schema
from .show_config import config
from .verify import verify

app = typer.Typer(
    name="memaudit",
    cls=Group,
    help="Audit a checkpoint pair: can the training data be reconstructed from a model before and after fine-tuning?",
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)


INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it: no error."""

UNREAD = 141
"""The exit code where nobody reads the output to its end, as shells have it: neither a pass nor a leak."""

ENDED = MemauditError("A plugin or a model file ended the program.", "Take sys.exit() out of it, or uninstall it.")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"memaudit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Audit a checkpoint pair."""


app.command(cls=Command, epilog=EPILOG)(scan)
app.command(cls=Command)(check)
app.command(cls=Command, epilog=EPILOG)(exposure)
app.command(cls=Command)(infer)
app.command(cls=Command)(linearity)
app.command(cls=Command)(inspect)
app.command(cls=Command)(demo)
app.command(cls=Command)(plugins)
app.command(cls=Command)(schema)
app.command(cls=Command)(config)
app.command(cls=Command)(defend)
app.command(cls=Command)(report)
app.command("scan-many", cls=Command, epilog=EPILOG)(scan_many)
app.command(cls=Command, epilog=EPILOG)(gate)
app.command(cls=Command)(diff)
app.command(cls=Command)(rules)
app.command(cls=Command)(verify)
app.command(cls=Command)(runs)
app.add_typer(baseline, name="baseline")


def main() -> NoReturn:
    """Run the command line; every failure becomes one line on stderr and an exit code."""
    interrupt.listen()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called: an error there would end as 1, which is a leak's code
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever a text holds, it can be printed
    try:
        _check_arguments()
        code = app(standalone_mode=False, obj=time.monotonic())  # --max-time counts from here
    except KeyboardInterrupt:
        code = _stopped()
    except BrokenPipeError:
        code = _unread()
    except SystemExit as error:  # shell completion ends so; else third-party code did, and no audit is done
        unread = isinstance(error.__context__, BrokenPipeError)  # which Typer turns into an exit
        code = _unread() if unread else error.code if "_MEMAUDIT_COMPLETE" in os.environ else _fail(ENDED)
    except Exception as error:
        code = _explain(error)
    sys.exit(_flushed(code))


def _check_arguments() -> None:
    """Refuse names that are not UTF-8 at once, and not when a report is to be written."""
    for argument in sys.argv[1:]:
        if any(0xD800 <= ord(mark) < 0xE000 for mark in argument):
            raise MemauditError(f"The argument {argument} is not UTF-8.", "Rename the file or its folder.")


def _flushed(code: int | str | None) -> int | str | None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _unread()
    return code


def _unread() -> int:
    """Return the code of a command whose reader has gone, which is no verdict; nothing more is printed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return UNREAD


def _explain(error: Exception) -> int:
    """Print any error as one line; the traceback only with -vv."""
    if isinstance(error, MemauditError):
        return _stopped() if error.exit_code == INTERRUPTED else _fail(error, error.exit_code)
    usage = getattr(error, "format_message", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(str(error))
        return 2
    if usage is not None:  # Typer's own usage errors
        command = getattr(getattr(error, "ctx", None), "command_path", "memaudit")
        return _fail(MemauditError(_plain(usage()), f"See {command} --help."))
    if "-vv" in sys.argv:
        raise error
    if isinstance(error, OSError):
        return _fail(
            MemauditError(f"{error.strerror}: {error.filename}.", "Check space and permissions, then run again.")
        )
    if _out_of_memory(error):
        hint = "Try fewer --epochs, a smaller --size, --set simudy.adjoint=segmented, more --max-memory or more memory."
        return _fail(MemauditError("Memory ran out, or the --max-memory limit was reached.", hint))
    first = str(error).splitlines()[0] if str(error) else ""
    return _fail(
        MemauditError(f"Unexpected {type(error).__name__}: {first}", "This is a bug in memaudit; -vv shows where.")
    )


PLAINER = (
    (r"^Invalid value for '(-[^']*)'", r"\1"),
    (r"Value error, ", ""),
    (r"Input should be a valid integer.*", "a whole number is needed"),
    (r"Input should be a valid number.*", "a number is needed"),
)
"""Typer's words, and ours in their place."""


def _plain(text: str) -> str:
    """Return a usage error as one plain sentence."""
    said = " ".join(text.split())
    for theirs, ours in PLAINER:
        said = re.sub(theirs, ours, said)
    return said if said.endswith("?") else f"{said.rstrip('.').removesuffix('?')}."


def _out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:  # which takes seconds to load
        return isinstance(error, MemoryError)
    from ...attacks.simulation.plans import out_of_memory

    return out_of_memory(error)


def _stopped() -> int:
    typer.echo("Interrupted. Run the same command to continue from here.", err=True)
    return INTERRUPTED


def _fail(error: MemauditError, code: int = 2) -> int:
    from .console import make_console, print_error

    print_error(make_console(), error)
    return code
