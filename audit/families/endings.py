"""A library's network made to fit a checkpoint: its first channels, and its classifier as users replace it."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...attacks.contract.params import Params
from ..checkpoints.names import COUNTER

MARK = 1009
"""Classes with which a library's network is built: the layers with as many rows are its classifiers."""

HEAD_ACTIVATION = "head_activation"
"""The fact in :attr:`.base.Architecture.assumed` that layers of a user's own head have ReLU between them."""


class Layer(NamedTuple):
    """A linear layer: its path below the head ("" for the head itself), features in and out, and bias."""

    path: str
    inside: int
    outside: int
    bias: bool


class Swap(NamedTuple):
    """What stands at a path of the library's network: one layer with other rows, or layers of the user's own."""

    path: str
    layers: tuple[Layer, ...]


class Fit(NamedTuple):
    """How a library's network differs from its builder's: channels of an image (0: none to choose) and classifiers."""

    channels: int
    swaps: tuple[Swap, ...]

    @property
    def classes(self) -> int:
        """Number of logits k."""
        return self.swaps[-1].layers[-1].outside

    @property
    def assumed(self) -> tuple[str, ...]:
        """Facts that the tensors do not show."""
        return (HEAD_ACTIVATION,) if any(len(swap.layers) > 1 for swap in self.swaps) else ()


def fit(module: nn.Module, tensors: Params) -> Fit | None:
    """Change a network, built with :data:`MARK` classes, into a checkpoint's, and say how; None without classifier.

    Args:
        module: On the meta device; it is changed where it stands.
        tensors: The checkpoint's, by name.
    """
    marked = classifiers(module)
    swaps = [swap for path in marked for swap in _swap(module, path, tensors)]
    if not marked or len(swaps) < len(marked):
        return None
    found = Fit(_channels(module, tensors), tuple(swaps))
    apply(module, found)
    return found


def classifiers(module: nn.Module) -> list[str]:
    """Return the paths of the classifiers of a network that was built with :data:`MARK` classes."""
    return [path for path, part in module.named_modules() if _rows(part) == MARK]


def apply(module: nn.Module, fitted: Fit) -> None:
    """Change a network, as its builder makes it, into what :func:`fit` found."""
    for path, layers in fitted.swaps:
        if layers[0].path:
            _put(module, path, Head(layers))
        elif _rows(module.get_submodule(path)):
            _widen(module.get_submodule(path), layers[0])
        else:
            with torch.device("meta"):
                _put(module, path, nn.Linear(*layers[0][1:]))
    first = _first(module)
    if first is not None and fitted.channels:
        weight = first.weight
        first.in_channels = fitted.channels * first.groups
        first.weight = _empty(len(weight), fitted.channels, *weight.shape[2:])


def share(module: nn.Module, tensors: Params) -> float:
    """Return the share of names and shapes that network and checkpoint have in common, counters aside; 1 is all."""
    ours, theirs = _shapes(module.state_dict()), _shapes(tensors)
    return len(ours & theirs) / max(len(ours | theirs), 1)


class Head(nn.Module):
    """Linear layers of a user's own under the names that they have in the checkpoint, with ReLU between them."""

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        super().__init__()
        self.paths = tuple(layer.path for layer in layers)
        with torch.device("meta"):
            for path, inside, outside, bias in layers:
                _put(self, path, nn.Linear(inside, outside, bias))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, k) of features (b, c), or (b, c, h, w), of which the mean over places is taken."""
        x = x.mean((2, 3)) if x.ndim == 4 else x
        for index, path in enumerate(self.paths):
            x = self.get_submodule(path)(torch.relu(x) if index else x)
        return x


def _rows(part: nn.Module) -> int:
    return len(part.weight) if isinstance(part, nn.Linear | nn.Conv2d) else 0


def _swap(module: nn.Module, path: str, tensors: Params) -> Iterator[Swap]:
    """Yield how the checkpoint has the classifier at ``path``: with other rows, or replaced there or further up."""
    weight, found = module.get_parameter(f"{path}.weight"), tensors.get(f"{path}.weight")
    if found is not None and found.shape[1:] == weight.shape[1:] and len(found):
        yield Swap(path, (Layer("", found.shape[1], len(found), f"{path}.bias" in tensors),))
        return
    place = path
    while place:
        layers = _linears(tensors, place)
        if layers and layers[0].inside == _width(module.get_submodule(place)):
            yield Swap(place, layers)
            return
        place = place.rpartition(".")[0]


def _linears(tensors: Params, place: str) -> tuple[Layer, ...]:
    """Return the chain of linear layers that all tensors below ``place`` form, () where they form none."""
    below = {name[len(place) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{place}.")}
    paths = [name.removesuffix(".weight") if "." in name else "" for name, value in below.items() if value.ndim == 2]
    paths.sort(key=lambda path: [(part.isdecimal(), part.zfill(9)) for part in path.split(".")])
    weights = {path: below[_named(path, "weight")] for path in paths if _named(path, "weight") in below}
    layers = tuple(
        Layer(path, weight.shape[1], len(weight), _named(path, "bias") in below) for path, weight in weights.items()
    )
    expected: dict[str, tuple[int, ...]] = {
        _named(layer.path, "weight"): (layer.outside, layer.inside) for layer in layers
    }
    expected |= {_named(layer.path, "bias"): (layer.outside,) for layer in layers if layer.bias}
    fits = all(a.outside == b.inside for a, b in pairwise(layers))
    return layers if fits and {name: tuple(value.shape) for name, value in below.items()} == expected else ()


def _named(path: str, leaf: str) -> str:
    return f"{path}.{leaf}".lstrip(".")


def _width(part: nn.Module) -> int:
    """Return the features that enter the first linear layer of a module, 0 where it has none."""
    first = next((layer for layer in part.modules() if isinstance(layer, nn.Linear | nn.Conv2d)), None)
    return 0 if first is None else first.weight.shape[1]


def _channels(module: nn.Module, tensors: Params) -> int:
    """Return the channels of an image where the checkpoint's first convolution has others than the builder's."""
    first = _first(module)
    name = next((f"{path}.weight" for path, part in module.named_modules() if part is first), "")
    if first is None or name not in tensors or tensors[name].ndim != 4:
        return 0
    ours, theirs = first.weight.shape, tensors[name].shape
    return theirs[1] if (ours[0], *ours[2:]) == (theirs[0], *theirs[2:]) and ours[1] != theirs[1] else 0


def channels(module: nn.Module) -> int:
    """Return the channels of the images that a network takes."""
    first = _first(module)
    return 3 if first is None else first.in_channels


def _first(module: nn.Module) -> nn.Conv2d | None:
    return next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)


def _widen(part: nn.Module, layer: Layer) -> None:
    setattr(part, "out_channels" if isinstance(part, nn.Conv2d) else "out_features", layer.outside)
    part.register_parameter("weight", _empty(layer.outside, *part.get_parameter("weight").shape[1:]))
    part.register_parameter("bias", _empty(layer.outside) if layer.bias else None)


def _put(module: nn.Module, path: str, part: nn.Module) -> None:
    """Set the module at a dotted path, as if the classes of the network that was saved had been here."""
    *parents, leaf = path.split(".")
    for parent in parents:
        if parent not in module._modules:
            module.add_module(parent, nn.Module())
        module = module.get_submodule(parent)
    module._modules[leaf] = part


def _empty(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, device="meta"))


def _shapes(tensors: Params) -> set[tuple[str, tuple[int, ...]]]:
    return {(name, tuple(value.shape)) for name, value in tensors.items() if not name.endswith(COUNTER)}
