"""The command line: a thin layer over the Python API. Torch is imported only inside the commands that need it."""

import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from ... import MemauditError, __version__
from ..machine import interrupt
from .baseline import baseline
from .defend import defend
from .group import Group
from .many import scan_many
from .options import (
    EPILOG,
    EXIT_CODES,
    After,
    AllowInconclusive,
    AsJson,
    Attacks,
    BatchNorm,
    BatchSize,
    Before,
    Clip,
    Context,
    Device,
    Epochs,
    ExecutorOption,
    ExitZero,
    FailIf,
    FailOn,
    ImageSize,
    Labels,
    MaxMemory,
    Model,
    ModelName,
    Momentum,
    Nesterov,
    Normalise,
    OptimizerOption,
    Out,
    Outputs,
    ProfileOption,
    Quiet,
    Rate,
    RecipeFile,
    Schedule,
    Searcher,
    Seed,
    Set,
    ShowEvidence,
    Size,
    Tf32,
    Verbose,
    Warmup,
    WeightDecay,
    exit_code,
)
from .report import report
from .show_config import config
from .verdict import gate, rules, verify

app = typer.Typer(
    name="memaudit",
    cls=Group,
    help="Audit a checkpoint pair: can the training data be reconstructed from a model before and after fine-tuning?",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)


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


@app.command(epilog=EPILOG)
def scan(
    before: Before,
    after: After,
    data: Annotated[
        str | None,
        typer.Option(
            help="Training set to match against: a folder of images, .npz, .pt, .safetensors or "
            "torchvision:NAME:ROOT. It never reaches an attack."
        ),
    ] = None,
    control: Annotated[
        str | None, typer.Option(help="Held-out images, never members of the training set; same forms.")
    ] = None,
    model: Model = "auto",
    image_size: ImageSize = None,
    normalise: Normalise = None,
    recipe: RecipeFile = None,
    size: Size = None,
    labels: Labels = None,
    optimizer: OptimizerOption = None,
    lr: Rate = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    momentum: Momentum = None,
    nesterov: Nesterov = None,
    weight_decay: WeightDecay = None,
    schedule: Schedule = None,
    warmup: Warmup = None,
    clip: Clip = None,
    batch_norm: BatchNorm = None,
    attack: Attacks = None,
    set_: Set = None,
    matching: Annotated[
        Literal["hungarian", "greedy"], typer.Option(help="Pair by hungarian, or greedy as the SimuDy authors do.")
    ] = "hungarian",
    seed: Seed = 0,
    restarts: Annotated[
        int, typer.Option(metavar="R", help="Run each attack with R seeds, and compare what they find.")
    ] = 1,
    max_time: Annotated[float | None, typer.Option(metavar="SECONDS", help="Seconds for the whole scan.")] = None,
    max_memory: MaxMemory = None,
    max_iterations: Annotated[int | None, typer.Option(help="Upper limit on each attack's iterations.")] = None,
    device: Device = "auto",
    tf32: Tf32 = False,
    executor: ExecutorOption = "local",
    out: Out = None,
    output: Outputs = None,
    fail_if: FailIf = None,
    fail_on: FailOn = None,
    name: ModelName = None,
    evidence: ShowEvidence = "full",
    context: Context = None,
    profile: ProfileOption = None,
    exit_zero: ExitZero = False,
    allow_inconclusive: AllowInconclusive = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    as_json: AsJson = False,
) -> None:
    """Attack a checkpoint pair, match what comes out with the training set, and write a report.

    Only the two checkpoints must be known; everything else is read from them, searched for, or assumed and said so.
    Run the same command again to resume an interrupted scan.
    """
    from ..outputs import parse_outputs
    from ..request import ScanRequest, parse_memory, parse_size
    from .console import Screen, make_console, print_summary

    request = ScanRequest(
        before=before, after=after, data=data, control=control, model=model, image_size=image_size,
        normalise=normalise, recipe=recipe, size=parse_size(size), labels=labels, optimizer=optimizer, lr=lr,
        batch_size=batch_size, epochs=epochs, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay,
        schedule=schedule, warmup=warmup, clip=clip, batch_norm=batch_norm, attacks=tuple(attack or ()),
        options=tuple(set_ or ()), matching=matching, seed=seed, restarts=restarts, max_time=max_time,
        max_memory=parse_memory(max_memory), max_iterations=max_iterations, device=device, tf32=tf32, executor=executor,
        out=out, outputs=parse_outputs(output or ()), fail_if=tuple(fail_if or ()), fail_on=fail_on, name=name,
        evidence=evidence, context=context,
    )  # fmt: skip
    from ..scan.pipeline import scan as run

    console = make_console()
    with Screen(console, -1 if quiet else verbose) as screen:
        report = run(request, screen)
    print_summary(console, report)
    if as_json:
        typer.echo(report.to_json(), nl=False)
    raise typer.Exit(exit_code(report.verdict.status, exit_zero, allow_inconclusive))


@app.command()
def infer(
    before: Before,
    after: After,
    data: Annotated[
        str | None, typer.Option(help="Training set, of which only the number of images is used; as for scan.")
    ] = None,
    model: Model = "auto",
    image_size: ImageSize = None,
    normalise: Normalise = None,
    recipe: RecipeFile = None,
    size: Size = None,
    labels: Labels = None,
    optimizer: OptimizerOption = None,
    lr: Rate = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    momentum: Momentum = None,
    nesterov: Nesterov = None,
    weight_decay: WeightDecay = None,
    schedule: Schedule = None,
    warmup: Warmup = None,
    clip: Clip = None,
    batch_norm: BatchNorm = None,
    attack: Searcher = None,
    set_: Set = None,
    seed: Seed = 0,
    max_time: Annotated[float | None, typer.Option(metavar="SECONDS", help="Seconds for the search.")] = None,
    max_memory: MaxMemory = None,
    device: Device = "auto",
    tf32: Tf32 = False,
    out: Out = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the recipe file here.")
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    as_json: AsJson = False,
) -> None:
    """Work out how a model was trained: a table with the evidence on stderr, a file for scan --recipe on stdout.

    Reads what the change of the parameters tells, then searches with short attacks. Reconstructs nothing.
    """
    from ..request import ScanRequest, parse_memory, parse_size
    from ..tasks.infer import infer as run
    from ..tasks.infer import write_recipe
    from .console import Screen, make_console
    from .show import print_inference

    request = ScanRequest(
        before=before, after=after, data=data, model=model, image_size=image_size, normalise=normalise, recipe=recipe,
        size=parse_size(size), labels=labels, optimizer=optimizer, lr=lr, batch_size=batch_size, epochs=epochs,
        momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, schedule=schedule, warmup=warmup, clip=clip,
        batch_norm=batch_norm, attacks=tuple(attack or ()), options=tuple(set_ or ()), seed=seed,
        max_time=max_time, max_memory=parse_memory(max_memory), device=device, tf32=tf32, out=out,
    )  # fmt: skip
    with Screen(make_console(), -1 if quiet else verbose) as screen:
        found = run(request, screen)
    if output is not None:
        write_recipe(found, output)
    if as_json:
        typer.echo(found.to_json(), nl=False)
        return
    if not quiet:
        print_inference(make_console(), found)
    typer.echo(found.to_toml(), nl=False)


@app.command()
def linearity(
    checkpoint: Annotated[
        str, typer.Argument(metavar="MODEL", help="Checkpoint that training starts from: .safetensors, .pt, a folder.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Images with labels: a folder with one sub-folder a class, .npz, .pt, .safetensors or "
            "torchvision:NAME:ROOT."
        ),
    ],
    model: Model = "auto",
    image_size: ImageSize = None,
    normalise: Normalise = None,
    size: Annotated[int | None, typer.Option(help="How many of the images, the first ones. [default: all]")] = None,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 0.01,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step. [default: full batch]")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the images, at least 2.")] = 20,
    optimizer: Annotated[Literal["sgd", "adam", "adamw"], typer.Option(help="Update rule.")] = "sgd",
    momentum: Annotated[float, typer.Option(help="Momentum of SGD.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(help="L2 factor; decoupled for adamw.")] = 0.0,
    batch_norm: Annotated[
        Literal["train", "eval"], typer.Option(help="Batch norm by each batch's statistics, or by the checkpoint's.")
    ] = "train",
    seed: Annotated[int, typer.Option(help="Deals the images to batches.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure how linear a training is, simulated from one checkpoint on labelled images. Runs no attack.

    Near 1, each sample's gradient keeps its direction, and attacks on a single gradient apply.
    """
    from ..tasks.linearity import LinearityRequest, measure
    from .console import Screen, make_console
    from .show import print_linearity

    request = LinearityRequest(
        checkpoint=checkpoint, data=data, model=model, image_size=image_size, normalise=normalise, size=size, lr=lr,
        batch_size=batch_size, epochs=epochs, optimizer=optimizer, momentum=momentum, weight_decay=weight_decay,
        batch_norm=batch_norm, seed=seed, device=device,
    )  # fmt: skip
    with Screen(make_console(), -1 if quiet else 0) as screen:
        found = measure(request, screen)
    if as_json:
        typer.echo(found.to_json(), nl=False)
    else:
        print_linearity(make_console(answer=True), found)


@app.command()
def inspect(
    files: Annotated[
        list[str],
        typer.Argument(metavar="BEFORE [AFTER]", help="Checkpoints before and after training; any number with --each."),
    ],
    each: Annotated[
        bool, typer.Option("--each", help="Only check that each file loads without executing anything; 2 if not.")
    ] = False,
    model: Model = "auto",
    image_size: ImageSize = None,
    as_json: AsJson = False,
) -> None:
    """Show what the checkpoints are: architecture, tensors, digests, and how far each tensor moved. Runs no attack."""
    import json

    from ..tasks.inspect import check_each
    from ..tasks.inspect import inspect as look
    from .console import make_console
    from .show import print_inspection

    if each:
        if model != "auto" or image_size is not None:
            raise MemauditError(
                "inspect --each looks at files, not at networks.", "Leave out --model and --image-size."
            )
        rows, errors = check_each(files)
        lines = [f"{row['path']}: {row['format']}, {row['tensors']} tensors, sha256 {row['sha256']}" for row in rows]
        for line in [json.dumps(rows, indent=2)] if as_json else lines:
            typer.echo(line)
        raise typer.Exit(max((_fail(error) for error in errors), default=0))
    if len(files) > 2:
        raise MemauditError(f"inspect compares two checkpoints, and {len(files)} were given.", "Add --each.")
    pair = look(files[0], next(iter(files[1:]), None), model, image_size)
    if as_json:
        typer.echo(json.dumps(pair, indent=2))
    else:
        print_inspection(make_console(answer=True), pair)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, images and reports.")] = Path("memaudit-demo"),
    quiet: Quiet = False,
) -> None:
    """Train a small network on ten photographs, then reconstruct them from its two checkpoints. Takes seconds."""
    from ..tasks.demo import run_demo
    from .console import Screen, make_console
    from .show import print_demo

    console = make_console()
    with Screen(console, -1 if quiet else 0) as screen:
        found = run_demo(out, screen)
    print_demo(console, found, out)
    raise typer.Exit(0 if found.verdict.status == "fail" else EXIT_CODES["inconclusive"])


@app.command()
def plugins(as_json: AsJson = False) -> None:
    """List what is installed: attacks with their options, model families, data sources, report formats."""
    from ..tasks.inspect import list_plugins
    from .console import make_console
    from .show import print_plugins

    found = list_plugins()
    if as_json:
        import json

        typer.echo(json.dumps(found, indent=2))
    else:
        print_plugins(make_console(answer=True), found)


@app.command()
def schema() -> None:
    """Print the JSON schema of report.json."""
    import json

    from ..report.file import schema as report_schema

    typer.echo(json.dumps(report_schema(), indent=2))


app.command()(config)
app.command()(defend)
app.command()(report)
app.command("scan-many", epilog=EPILOG)(scan_many)
app.command(epilog=EPILOG)(gate)
app.command()(rules)
app.command()(verify)
app.add_typer(baseline, name="baseline")


def main() -> NoReturn:
    """Run the command line; every failure becomes one line on stderr and an exit code."""
    interrupt.listen()
    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        code = _fail(MemauditError("Interrupted.", "Run the same command to resume."), 130)
    except Exception as error:
        code = _explain(error)
    sys.exit(code)


def _explain(error: Exception) -> int:
    """Print any error as one line; the traceback only with -vv."""
    if isinstance(error, MemauditError):
        return _fail(error, error.exit_code)
    usage = getattr(error, "format_message", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(str(error))
        return 2
    if usage is not None:  # Typer's own usage errors
        return _fail(MemauditError(" ".join(usage().split()).rstrip(".") + ".", "See memaudit --help."))
    if "-vv" in sys.argv:
        raise error
    if isinstance(error, OSError):
        return _fail(
            MemauditError(f"{error.strerror}: {error.filename}.", "Check space and permissions, then run again.")
        )
    if _out_of_memory(error):
        hint = "Try fewer --epochs, a smaller --size, --set simudy.adjoint=segmented, more --max-memory or more memory."
        return _fail(MemauditError("Memory ran out, or what --max-memory leaves of it.", hint))
    first = str(error).splitlines()[0] if str(error) else ""
    return _fail(
        MemauditError(f"Unexpected {type(error).__name__}: {first}", "This is a bug in memaudit; -vv shows where.")
    )


def _out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:  # which takes seconds to load
        return isinstance(error, MemoryError)
    from ...attacks.simulation.plans import out_of_memory

    return out_of_memory(error)


def _fail(error: MemauditError, code: int = 2) -> int:
    from .console import make_console, print_error

    print_error(make_console(), error)
    return code
