"""``memaudit linearity``: how linear a training would be."""

from typing import Annotated

import typer

from ...attacks.contract.recipe import Mode, Optimizer
from ..checkpoints.existing import existing
from .flat import OptionGroup, flat
from .options import AsJson, Device, Network, Normalise, Quiet
from .panels import inputs, training


class Simulated(OptionGroup):
    """What is trained on what, and how: fields of :class:`.tasks.linearity.LinearityRequest`."""

    checkpoint: Annotated[
        str, typer.Argument(metavar="MODEL", help="Checkpoint that training starts from: .safetensors, .pt, a folder.")
    ]
    data: Annotated[
        str,
        inputs(
            help="Images with labels: a folder with one sub-folder per class, .npz, .pt, .safetensors or "
            "torchvision:NAME:ROOT."
        ),
    ]
    size: Annotated[int | None, inputs(help="How many of the images, the first ones. [default: all]")] = None
    normalise: Normalise = None
    lr: Annotated[float, training(help="Learning rate.")] = 0.01
    batch_size: Annotated[int | None, training(help="Samples per step. [default: full batch]")] = None
    epochs: Annotated[int, training(help="Passes over the images, at least 2.")] = 20
    optimizer: Annotated[Optimizer, training(help="Update rule.")] = "sgd"
    momentum: Annotated[float, training(help="Momentum of SGD.")] = 0.0
    weight_decay: Annotated[float, training(help="L2 factor; decoupled for adamw.")] = 0.0
    batch_norm: Annotated[Mode, training(help="Batch norm by each batch's statistics, or by the checkpoint's.")] = (
        "train"
    )
    seed: Annotated[int, training(help="Deals the images to batches.")] = 0
    device: Device = "auto"


@flat()
def linearity(simulated: Simulated, network: Network, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Measure how linear a training is, simulated from one checkpoint on labelled images. Runs no attack.

    Near 1, each sample's gradient keeps its direction, and attacks on a single gradient apply.

    For example:

        memaudit linearity before.pt --data train/ --lr 0.01 --epochs 20
    """
    existing(simulated.checkpoint)  # before torch is imported, which takes seconds
    from ..tasks.linearity import LinearityRequest, measure
    from .console import Screen, make_console
    from .show import print_linearity

    request = LinearityRequest(**vars(simulated), **vars(network))
    with Screen(make_console(), -1 if quiet else 0) as screen:
        found = measure(request, screen)
    if as_json:
        typer.echo(found.to_json(), nl=False)
    else:
        print_linearity(make_console(answer=True), found)
