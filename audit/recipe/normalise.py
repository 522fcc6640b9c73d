"""The normalisation between pixels and network inputs: from its name, its numbers, or a file beside the weights."""

import math
from collections.abc import Mapping

from ...attacks.images.normalisation import PLAIN, Normalisation
from ..families.base import Architecture
from ..families.beside import NOTHING, PREPROCESSOR, Beside
from ..report.facts import Fact
from .fields import RecipeError
from .sources import assumed, given

Scale = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation, one for all channels or one per channel."""

PRESETS: dict[str, Scale] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}
"""Normalisations by name: (mean, standard deviation) per channel."""


NARROWEST, WIDEST = 1e-3, 1e2
"""Deviations of pixels in [0, 1] that a file may say, and, with either sign, means up to the larger one."""


def normalisation(
    text: str | None, architecture: Architecture, beside: Beside = NOTHING
) -> tuple[Normalisation, dict[str, Fact]]:
    """Return a normalisation of pixels in [0, 1], and where it comes from.

    Args:
        text: A name or numbers; they come first.
        architecture: The network. If it takes other records than images, no fact says a normalisation.
        beside: What lies beside the weights: an image processor's settings come second. The usual normalisation of
            such images comes last, marked as assumed.

    Raises:
        RecipeError: An unknown name, numbers that do not parse, a count that is not the network's channels, std <= 0;
            or settings beside the weights that no image processor has.
    """
    if architecture.medium != "image":
        if text is not None:
            raise RecipeError(f"--normalise {text} is for images, and {architecture.name} takes none.", "Leave it out.")
        return PLAIN, {}
    channels, height, _ = architecture.shape
    if text is None and (found := _prepared(beside, channels)):
        mean, std = found
        name = next((name for name, scale in PRESETS.items() if scale == found), _written(found))
        return Normalisation(mean, std), {"normalise": given("normalise", name, f"{PREPROCESSOR} beside the weights")}
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


def _prepared(beside: Beside, channels: int) -> Scale | None:
    """Return what an image processor's settings say: ``((255 factor pixel - offset) - mean) / std``; None for nothing.

    Without ``do_normalize``, or where it gets pixels on a scale of their own, they say nothing.
    """
    settings = beside.preparation
    if settings is None:
        raise _odd("is no JSON object")
    if settings.get("do_normalize") is None or settings.get("do_rescale", True) is not True:
        return None
    divides, shifts, again = (_flag(settings, name) for name in ("do_normalize", "rescale_offset", "include_top"))
    factor = _values(settings, "rescale_factor", 1)[0] * 255 if "rescale_factor" in settings else 1.0
    factor = 1.0 if math.isclose(factor, 1, rel_tol=1e-6) else factor
    mean = _values(settings, "image_mean", channels) if divides else (0.0,)
    std = _values(settings, "image_std", channels) if divides or again else (1.0,)
    if not (factor > 0 and all(value > 0 for value in std)):
        raise _odd("divides images by zero, or by less")
    mean = tuple((value + shifts) / factor for value in mean)
    twice = divides and again  # as EfficientNet's may
    std = tuple(value * (value if twice else 1) / factor for value in std)
    if not (all(abs(value) <= WIDEST for value in mean) and all(NARROWEST <= value <= WIDEST for value in std)):
        raise _odd("scales images as none are scaled")
    return _short(mean), _short(std)


def _flag(settings: Mapping[str, object], name: str) -> bool:
    found = settings.get(name, False)
    if not isinstance(found, bool):
        raise _odd(f"has another {name} than true or false")
    return found


def _values(settings: Mapping[str, object], name: str, channels: int) -> tuple[float, ...]:
    """Return one number for all channels, or one per channel."""
    found = settings.get(name)
    given_as = found if isinstance(found, list) else [found]
    numbers = [n for n in given_as if isinstance(n, int | float) and not isinstance(n, bool)]
    if len(given_as) not in (1, channels) or len(numbers) < len(given_as):
        raise _odd(f"has no {name} of one number{f' or {channels}' if channels > 1 else ''}")
    try:
        values = tuple(float(number) for number in numbers)
    except OverflowError:
        values = (math.inf,)
    if not all(map(math.isfinite, values)):
        raise _odd(f"has no finite {name}")
    return values


def _odd(what: str) -> RecipeError:
    return RecipeError(f"{PREPROCESSOR} beside the weights {what}.", "Give --normalise, or correct the file.")


def _short(values: tuple[float, ...]) -> tuple[float, ...]:
    return values[:1] if len(set(values)) == 1 else values


def _written(scale: Scale) -> str:
    """Return numbers as ``--normalise`` takes them."""
    return ";".join(",".join(f"{value:.9g}" for value in part) for part in scale)


def _numbers(text: str) -> Scale:
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in text.split(";"))
    except ValueError:
        raise RecipeError(
            f"--normalise {text} is neither {', '.join(PRESETS)} nor numbers.",
            "Write numbers as 'MEAN,MEAN,MEAN;STD,STD,STD'.",
        ) from None
    return mean, std
