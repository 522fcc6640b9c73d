"""The normalisation between pixels and network inputs, from its name or its numbers."""

import math

from ...attacks.images.normalisation import PLAIN, Normalisation
from ..families.base import Architecture
from ..report.facts import Fact
from .fields import RecipeError
from .sources import assumed, given

PRESETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}
"""Normalisations by name: (mean, standard deviation) per channel."""


def normalisation(text: str | None, architecture: Architecture) -> tuple[Normalisation, dict[str, Fact]]:
    """Return the normalisation that ``text`` names, or the usual one for such images, marked as assumed.

    A network that takes other records than images has none, and no fact says one.

    Raises:
        RecipeError: An unknown name, numbers that do not parse, a count that is not the network's channels, std <= 0.
    """
    if architecture.medium != "image":
        if text is not None:
            raise RecipeError(f"--normalise {text} is for images, and {architecture.name} takes none.", "Leave it out.")
        return PLAIN, {}
    channels, height, _ = architecture.shape
    if text is None:
        name = "half" if channels != 3 else "cifar10" if height == 32 else "imagenet"
        why = f"the usual one for {channels} x {height} x {height} images"
        return Normalisation(*PRESETS[name]), {"normalise": assumed("normalise", name, why)}
    mean, std = PRESETS[text] if text in PRESETS else _numbers(text)
    for part in (mean, std):
        if len(part) not in (1, channels):
            raise RecipeError(
                f"--normalise {text} has {len(part)} channels; the network takes {channels}.",
                "Give one number, or one per channel.",
            )
    if not (all(map(math.isfinite, mean)) and all(0 < value < math.inf for value in std)):
        raise RecipeError(f"--normalise {text} needs finite means and positive deviations.", "Check the numbers.")
    return Normalisation(mean, std), {"normalise": given("normalise", text)}


def _numbers(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in text.split(";"))
    except ValueError:
        raise RecipeError(
            f"--normalise {text} is neither {', '.join(PRESETS)} nor numbers.",
            "Write numbers as 'MEAN,MEAN,MEAN;STD,STD,STD'.",
        ) from None
    return mean, std
