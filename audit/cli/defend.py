"""``memaudit defend``: what a pair leaks once the published change is altered."""

from typing import Annotated, Literal

import typer

from ..verdict.advice import BITS, NOISE
from .options import (
    After,
    AsJson,
    Attacks,
    BatchNorm,
    BatchSize,
    Before,
    Clip,
    Context,
    Device,
    Epochs,
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
    Quiet,
    Rate,
    RecipeFile,
    Schedule,
    Seed,
    Set,
    ShowEvidence,
    Size,
    Tf32,
    Verbose,
    Warmup,
    WeightDecay,
)


def defend(
    before: Before,
    after: After,
    data: Annotated[
        str,
        typer.Option(
            help="Training set to match against: a folder of images, .npz, .pt, .safetensors or "
            "torchvision:NAME:ROOT. It never reaches an attack."
        ),
    ],
    control: Annotated[
        str | None, typer.Option(help="Held-out images, never members of the training set; same forms.")
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="SD,...",
            help="Add Gaussian noise of such standard deviations, as multiples of the root mean square of the "
            f"change. [default: {NOISE}, if --bits is not given]",
        ),
    ] = None,
    bits: Annotated[
        str | None,
        typer.Option(
            metavar="B,...",
            help=f"Round the change of each tensor to so many bits. [default: {BITS}, if --noise is not given]",
        ),
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Labelled images to measure accuracy on; same forms as --data.")
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
    restarts: Annotated[int, typer.Option(metavar="R", help="Run each attack with R seeds.")] = 1,
    max_time: Annotated[float | None, typer.Option(metavar="SECONDS", help="Seconds for each of the scans.")] = None,
    max_memory: MaxMemory = None,
    max_iterations: Annotated[int | None, typer.Option(help="Upper limit on each attack's iterations.")] = None,
    device: Device = "auto",
    tf32: Tf32 = False,
    out: Out = None,
    output: Outputs = None,
    name: ModelName = None,
    evidence: ShowEvidence = "full",
    context: Context = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    as_json: AsJson = False,
) -> None:
    """Measure what a pair leaks as it is and with its change altered: noise added to it, or rounded to few bits.

    Scans the pair, then each altered pair with the recipe that was learned, and writes one report with the curve. A
    measurement, not a gate: exit code 0 whatever leaks, 2 for unusable input, 130 interrupted; the same command
    resumes. A lower leak means that these attacks did worse, not that the model is safe.
    """
    from ..outputs import parse_outputs
    from ..request import ScanRequest, parse_memory, parse_size
    from ..tasks.alter import parse_defences
    from ..tasks.defend import defend as run
    from .console import Screen, make_console
    from .show import print_defences

    defences = parse_defences(*((NOISE, BITS) if noise is None and bits is None else (noise, bits)))
    request = ScanRequest(
        before=before, after=after, data=data, control=control, model=model, image_size=image_size,
        normalise=normalise, recipe=recipe, size=parse_size(size), labels=labels, optimizer=optimizer, lr=lr,
        batch_size=batch_size, epochs=epochs, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay,
        schedule=schedule, warmup=warmup, clip=clip, batch_norm=batch_norm, attacks=tuple(attack or ()),
        options=tuple(set_ or ()), matching=matching, seed=seed, restarts=restarts, max_time=max_time,
        max_memory=parse_memory(max_memory), max_iterations=max_iterations, device=device, tf32=tf32,
        out=out, outputs=parse_outputs(output or ()), name=name, evidence=evidence, context=context,
    )  # fmt: skip
    console = make_console()
    with Screen(console, -1 if quiet else verbose) as screen:
        found = run(request, defences, test, screen)
    print_defences(console, found)
    if as_json:
        typer.echo(found.to_json(), nl=False)
