"""Options that several commands share, in groups. No torch and no pydantic here."""

from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..profiles import PROFILES, Profile
from ..recipe.fields import FIELDS, SAID
from ..report.terms import Evidence, Exif, Preprocess
from .flat import OptionGroup
from .panels import attacks, gate, inputs, limits, training, written

DATA = (
    "Training set to match against: a folder of images, .npz, .pt, .safetensors, torchvision:NAME:ROOT, or text:FILE "
    "with sentences. It never reaches an attack."
)
SEEN = "Pictures in reports: full, blurred until clicked, or none."

SPELLINGS = {"normalise": ("--normalise", "--normalize")}
"""Options that are spelt in more than one way."""

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a finished scan, or its report.json.")]
Report = Annotated[Path, typer.Argument(metavar="REPORT", help="report.json of a finished scan, or its run folder.")]
Control = Annotated[str | None, inputs(help="Held-out records, never members of the training set; same forms.")]
Normalise = Annotated[str | None, training(*SPELLINGS["normalise"], help=FIELDS["normalise"].help)]
Set = Annotated[
    list[str] | None,
    attacks("--set", metavar="ATTACK.OPTION=VALUE", help="Attack option, repeatable: simudy.alpha=2e-3."),
]
Seed = Annotated[int, attacks(help="Seeds everything random.")]
Iterations = Annotated[int | None, limits(help="Upper limit on each attack's iterations.")]
Device = Annotated[str, limits(help="auto, cpu, cuda or cuda:N.")]
Executor = Annotated[
    str,
    limits(
        metavar="local|ray[:ADDRESS]",
        help="Where attacks run: local, one process per GPU where there are several, or a Ray cluster.",
    ),
]
Out = Annotated[str | None, written(metavar="DIR", help="Run folder. [default: memaudit-runs/KEY]")]
Outputs = Annotated[
    list[str] | None,
    written(
        "--output",
        "-o",
        metavar="[FORMAT=]PATH",
        help="Write a report, repeatable: audit.html, or FORMAT=PATH where the ending does not say it: dpia=dpia.md.",
    ),
]
Context = Annotated[
    str | None, written(metavar="FILE", help="TOML with facts for -o dpia=PATH that the tool cannot know.")
]
Quiet = Annotated[
    bool, written("--quiet", "-q", help="Print the verdict and where the report is, nothing else but errors.")
]
Open = Annotated[bool, written("--open", help="Open the HTML report when it is written.")]
AsJson = Annotated[bool, written("--json", help="Print JSON on stdout, and nothing else there.")]
FailIf = Annotated[
    list[str] | None,
    gate(help="Gate, repeatable: [ATTACK.]METRIC OP VALUE, such as 'simudy.ssim_max>=0.4'. [default: recovered>0]"),
]
FailOn = Annotated[
    Literal["low", "medium", "high", "critical"] | None,
    gate(help="Fail on a finding of this severity or worse; memaudit rules lists them."),
]


class Pair(OptionGroup):
    """The two checkpoints."""

    before: Annotated[
        str, typer.Argument(metavar="BEFORE", help="Checkpoint before training: .safetensors, .pt, .pth, a folder.")
    ]
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Checkpoint after training.")]


class Files(OptionGroup):
    """How files become images."""

    exif: Annotated[
        Exif, inputs(help="Orientation tags of photos: ignore them as torchvision does, or apply them.")
    ] = "ignore"
    preprocess: Annotated[
        Preprocess, inputs(help="Images of another size are stretched (squash), cropped, padded, or refused (none).")
    ] = "squash"
    skip_unreadable: Annotated[
        bool, inputs("--skip-unreadable", help="Leave out images that cannot be read; otherwise they are an error.")
    ] = False


class Network(OptionGroup):
    """What the checkpoints are of."""

    model: Annotated[str, inputs(help="auto, torchvision:NAME, timm:NAME, FILE.py:FUNCTION or PKG.MOD:FUNCTION.")] = (
        "auto"
    )
    key: Annotated[
        str, inputs(metavar="PATH", help="State dict in torch files that hold several, such as ema/net.")
    ] = ""
    image_size: Annotated[int | None, inputs(help=FIELDS["image_size"].help)] = None


KNOWLEDGE = frozenset(SAID) - {"image_size"}
"""Fields that are knowledge of the training; the size of the images is one of the network's."""


def _option(name: str, kind: Any, form: str | None, text: str) -> Parameter:
    default = training(None, *SPELLINGS.get(name, ()), metavar=form, help=text)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind | None)


TRAINING = (
    _option("recipe", str, "FILE", "Recipe as memaudit infer writes it; options beside it win."),
    *(_option(f.name, str if f.form else f.kind, f.form, f.help) for f in FIELDS.values() if f.name in KNOWLEDGE),
)
"""What the user knows of the training: a recipe file, and the table of recipe fields."""


class Attacks(OptionGroup):
    """Which attacks run, and how."""

    attack: Annotated[
        list[str] | None,
        attacks(
            metavar="NAME|all",
            help="Attack to run, repeatable, or all that apply; see memaudit plugins. "
            "[default: chosen from what the change shows]",
        ),
    ] = None
    set_: Set = None
    matching: Annotated[
        Literal["hungarian", "greedy"], attacks(help="Pair by hungarian, or greedy as the SimuDy authors do.")
    ] = "hungarian"
    seed: Seed = 0
    restarts: Annotated[int, attacks(metavar="R", help="Run each attack with R seeds, and compare what they find.")] = 1


class Proofs(OptionGroup):
    """What a PASS rests on."""

    power: Annotated[
        Literal["auto", "off"],
        attacks(help="Before a PASS, attack a mock victim as well: auto; without it (off) there is no PASS."),
    ] = "auto"


class Machine(OptionGroup):
    """Where attacks run, and how much memory they may take."""

    max_memory: Annotated[
        str | None,
        limits(
            metavar="SIZE", help="Most memory that the process may use during attacks, such as 4GB. [default: no limit]"
        ),
    ] = None
    device: Device = "auto"
    tf32: Annotated[
        bool, limits("--tf32", help="Let attacks on a GPU multiply in TF32: less precise, maybe faster.")
    ] = False


class Reports(OptionGroup):
    """What is written, and how it looks."""

    out: Out = None
    output: Outputs = None
    name: Annotated[str | None, written("--name", help="Name of the model in reports. [default: the file's name]")] = (
        None
    )
    evidence: Annotated[Evidence, written("--evidence", help=SEEN)] = "full"
    context: Context = None


class Terminal(OptionGroup):
    """What is printed."""

    quiet: Quiet = False
    verbose: Annotated[int, written("--verbose", "-v", count=True, help="Show every number; twice for tracebacks.")] = 0
    as_json: AsJson = False

    @property
    def verbosity(self) -> int:
        """As :class:`.console.Screen` takes it."""
        return -1 if self.quiet else self.verbose


def _apply_profile(ctx: typer.Context, name: Profile | None) -> Profile | None:
    """Put the values of a profile under what is configured; eager, and so before the options that they are for."""
    if name is not None:
        values = {key.replace("-", "_"): value for key, value in PROFILES[name].items()}
        ctx.default_map = {**values, **(ctx.default_map or {})}
    return name


ProfileOption = Annotated[
    Profile | None,
    limits(
        "--profile",
        is_eager=True,
        callback=_apply_profile,
        help="smoke: minutes on a CPU; ci: up to 20 minutes; full: no limit, three seeds, every attack that applies. "
        "Options given explicitly win.",
    ),
]
