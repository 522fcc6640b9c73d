"""Options that several commands share, and what their exit codes mean. No torch here."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..profiles import PROFILES, Profile

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3}
EPILOG = (
    "Exit codes: 0 passed, 1 gate failed (training data leaked), 2 usage or input error, "
    "3 inconclusive, 130 interrupted (run the same command to resume)."
)

Before = Annotated[
    str, typer.Argument(metavar="BEFORE", help="Checkpoint before training: .safetensors, .pt, .pth, a folder.")
]
After = Annotated[str, typer.Argument(metavar="AFTER", help="Checkpoint after training.")]
Model = Annotated[
    str, typer.Option(help="auto, torchvision:NAME, FILE.py:FUNCTION or PKG.MOD:FUNCTION.", show_default=True)
]
ImageSize = Annotated[int | None, typer.Option(help="Height and width of the input images in pixels.")]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        help="Gate, repeatable: [ATTACK.]METRIC OP VALUE, such as 'simudy.ssim_max>=0.4'. [default: recovered>0]"
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT=PATH",
        help="Write a report, repeatable: FORMAT=PATH, such as html=audit.html.",
    ),
]
FailOn = Annotated[
    Literal["low", "medium", "high", "critical"] | None,
    typer.Option(help="Fail on a finding of this severity or worse; memaudit rules lists them."),
]
ShowEvidence = Annotated[
    Literal["full", "blurred", "none"],
    typer.Option("--evidence", help="Pictures in reports: full, blurred until clicked, or none."),
]
ShowEvidenceAgain = Annotated[
    Literal["full", "blurred", "none"] | None,
    typer.Option("--evidence", help="Pictures in reports: full, blurred until clicked, or none. [default: the scan's]"),
]
Context = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="TOML with facts for -o dpia=PATH that the tool cannot know."),
]
ModelName = Annotated[
    str | None, typer.Option("--name", help="What the model is called in reports. [default: the file's name]")
]
Normalise = Annotated[str | None, typer.Option(help="cifar10, imagenet, half, none, or numbers as 'MEAN,...;STD,...'.")]
RecipeFile = Annotated[
    str | None,
    typer.Option("--recipe", metavar="FILE", help="Recipe as memaudit infer writes it; options beside it win."),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Number of training samples; auto reads it off the change or takes too many and sorts out the idle ones. "
        "[default: the count of --data, else auto]",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="data|CLASS:COUNT,...",
        help="How many samples each class has: those of --data, or counts. [default: worked out]",
    ),
]
OptimizerOption = Annotated[
    Literal["sgd", "adam", "adamw"] | None, typer.Option(help="Update rule. [default: read off the change]")
]
Rate = Annotated[float | None, typer.Option(help="Learning rate. [default: searched for]")]
BatchSize = Annotated[int | None, typer.Option(help="Samples a step. [default: full batch up to 32, and others tried]")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training set. [default: from the steps, else 20]")]
Momentum = Annotated[float | None, typer.Option(help="Momentum of SGD. [default: 0]")]
Nesterov = Annotated[bool | None, typer.Option(help="Nesterov momentum. [default: no-nesterov]")]
WeightDecay = Annotated[
    float | None, typer.Option(help="L2 factor, decoupled for adamw. [default: what the change tells, else 0]")
]
Schedule = Annotated[
    Literal["constant", "linear", "cosine"] | None,
    typer.Option(help="Learning-rate schedule, to zero at the end. [default: constant]"),
]
Warmup = Annotated[int | None, typer.Option(help="Steps of linear warm-up. [default: 0]")]
Clip = Annotated[float | None, typer.Option(help="Global gradient norm that training clipped at. [default: none]")]
BatchNorm = Annotated[
    Literal["train", "eval"] | None,
    typer.Option(help="Mode of batch norm in training. [default: read off its statistics]"),
]
Attacks = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|all",
        help="Attack to run, repeatable, or all that apply; see memaudit plugins. "
        "[default: chosen from what the change shows]",
    ),
]
Searcher = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Attack whose first steps compare candidates; see memaudit plugins. [default: simudy]"
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="ATTACK.OPTION=VALUE", help="Attack option, repeatable: simudy.alpha=2e-3."),
]
Seed = Annotated[int, typer.Option(help="Seeds everything random.")]
MaxMemory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Memory that attacks may bring the process to, as 4GB. [default: no limit]"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Tf32 = Annotated[
    bool, typer.Option("--tf32", help="Attacks on a GPU round what they multiply to TF32, which may be faster.")
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="local|ray[:ADDRESS]",
        help="Where attacks run: local, one process per GPU where there are several, or a Ray cluster.",
    ),
]
Out = Annotated[str | None, typer.Option(metavar="DIR", help="Run folder. [default: memaudit-runs/KEY]")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; errors, warnings and the verdict only.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Show every number; twice for tracebacks.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a finished scan, or its report.json.")]
Report = Annotated[Path, typer.Argument(metavar="REPORT", help="report.json of a finished scan, or its run folder.")]
ExitZero = Annotated[
    bool, typer.Option("--exit-zero", help="Exit with 0 whatever the verdict: report, do not gate. Errors still count.")
]
AllowInconclusive = Annotated[
    bool, typer.Option("--allow-inconclusive", help="Exit with 0 instead of 3 where the audit cannot tell.")
]


def exit_code(status: str, exit_zero: bool = False, allow_inconclusive: bool = False) -> int:
    """Return the exit code of a verdict; where an option changes it, say so on stderr, whatever else is quiet."""
    code = EXIT_CODES[status]
    if code and (exit_zero or (allow_inconclusive and status == "inconclusive")):
        option = "--exit-zero" if exit_zero else "--allow-inconclusive"
        typer.echo(f"Exit code 0 by {option}, although the verdict is {status}.", err=True)
        return 0
    return code


def _apply_profile(ctx: typer.Context, name: Profile | None) -> Profile | None:
    """Put the values of a profile under what is configured; eager, and so before the options that they are for."""
    if name is not None:
        values = {key.replace("-", "_"): value for key, value in PROFILES[name].items()}
        ctx.default_map = {**values, **(ctx.default_map or {})}
    return name


ProfileOption = Annotated[
    Profile | None,
    typer.Option(
        "--profile",
        is_eager=True,
        callback=_apply_profile,
        help="smoke: minutes on a CPU; ci: up to 20 minutes; full: no limit, three seeds, every attack that applies. "
        "Options that are given win.",
    ),
]
