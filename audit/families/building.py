"""Networks that a library builds: on the meta device, and changed into that of a checkpoint."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from torch import nn

from ...attacks.contract.params import Params
from ..checkpoints.names import rewrapped
from .base import IMAGE_SIZE, Architecture, scored
from .endings import MARK, Fit, apply, channels, classifiers, fit, share
from .weightless import Smooth, sketch, weightless

_USUAL = 1000
"""Classes of a network as it is published."""

_LEAVES = ("weight", "bias")
"""Tensors of a linear layer."""


class Maker(Protocol):
    """Returns what builds one of the library's networks, by its name and settings."""

    def __call__(self, name: str, settings: Mapping[str, Any], classes: int = MARK) -> Callable[[], nn.Module]:
        """Return the builder."""
        ...


class Build(NamedTuple):
    """A network on the meta device with the settings that make it again, and how it differs from its builder's."""

    name: str
    settings: Mapping[str, Any]
    fit: Fit
    module: nn.Module
    title: str
    filed: Mapping[str, str]
    assumed: tuple[str, ...] = ()


def best(names: Iterable[str], built: Callable[[str, Params], Build | None], tensors: Params) -> Build | None:
    """Return the network with the most names and shapes of a checkpoint, ``None`` where none is like it.

    Args:
        names: The networks to try, the likeliest first; the first that fits wholly counts.
        built: Builds one.
        tensors: The checkpoint's, by name.
    """
    most, found = 0.0, None
    for name in names:
        build = built(name, tensors)
        score = share(build.module, _named(tensors, build.filed)) if build else 0.0
        if score > most:
            most, found = score, build
        if score == 1:
            break
    return found


def made(maker: Maker, name: str, settings: Mapping[str, Any], tensors: Params, title: str) -> Build | None:
    """Return a network fitted to the checkpoint as far as it goes; ``None`` where its classifier cannot."""
    module = sketch(maker(name, settings), tensors)
    if module is None:
        return None
    filed = _filed(module, tensors)
    found = fit(module, _named(tensors, filed))
    return Build(name, settings, found, module, title, filed) if found else None


class Whole(NamedTuple):
    """A network on the meta device, the size of its images, whether it takes no others, and what is assumed."""

    module: Smooth
    size: int
    fixed: bool
    assumed: tuple[str, ...]


def made_whole(maker: Maker, name: str, settings: Mapping[str, Any], tensors: Params) -> tuple[Smooth, tuple[str, ...]]:
    """Return a network fitted to the checkpoint as far as it goes, and what is assumed of its classifier.

    Where its classifier cannot be fitted, it is as it is published.
    """
    module = weightless(maker(name, settings))
    filed = _filed(module, tensors)
    found = fit(module, _named(tensors, filed))
    return (Smooth(module, filed), found.assumed) if found else (Smooth(weightless(maker(name, settings, _USUAL))), ())


def made_again(maker: Maker, architecture: Architecture) -> nn.Module:
    """Return the network that :func:`described` describes."""
    layout = architecture.layout
    module = weightless(maker(layout["builder"], layout["settings"]))
    apply(module, layout["fit"])
    return Smooth(module, layout["filed"])


def described(
    family: str, build: Build, tensors: Params, image: tuple[int, bool], chosen: tuple[str, ...] = ()
) -> Architecture:
    """Return what a network is, scored against the checkpoint.

    Args:
        family: Name of the entry point.
        build: The network.
        tensors: The checkpoint's, by name.
        image: Height and width of its images in pixels, and whether it takes no others.
        chosen: What else is assumed.
    """
    size, fixed = image
    architecture = Architecture(
        family=family,
        name=build.title,
        layout={"builder": build.name, "settings": build.settings, "fit": build.fit, "filed": build.filed},
        classes=build.fit.classes,
        shape=(channels(build.module), size, size),
        assumed=(*(() if fixed else (IMAGE_SIZE,)), *build.assumed, *chosen, *build.fit.assumed),
    )
    return scored(architecture, Smooth(build.module, build.filed), tensors)


def _filed(module: nn.Module, tensors: Params) -> dict[str, str]:
    """Return a checkpoint's names for a network's, where others call modules as its library does, and wrap them.

    So MONAI's DenseNet has torchvision's names with a part ``layers`` on the way, and calls its classifier
    ``class_layers.out``: the classifier is the one layer that is left.
    """
    heads = classifiers(module)
    body = {name for name in module.state_dict() if not name.startswith(tuple(f"{head}." for head in heads))}
    moved = rewrapped(body, tensors)
    left = {name.rpartition(".")[0] for name in tensors if name not in body and name not in moved.values()}
    if not moved or len(heads) != 1 or len(left) != 1 or left == set(heads):
        return moved
    layer = left.pop()
    return moved | {f"{heads[0]}.{leaf}": f"{layer}.{leaf}" for leaf in _LEAVES if f"{layer}.{leaf}" in tensors}


def _named(tensors: Params, filed: Mapping[str, str]) -> Params:
    """Return a checkpoint's tensors by the names that the network has for them."""
    names = {other: name for name, other in filed.items()}
    return {names.get(name, name): value for name, value in tensors.items()}
