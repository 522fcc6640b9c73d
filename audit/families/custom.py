"""Networks that the user names: a library's by its name, or a function in a file or package of the user's own."""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import torch
from torch import Tensor, nn

from ...attacks.contract.params import Params
from ..files import read_regular
from ..plugins import nearest, one_line
from . import timm, torchvision
from .base import IMAGE_SIZE, Architecture, UnknownArchitecture, fitted, image_shape, misfits
from .building import Whole

SIZES = (32, 28, 64, 224, 96, 128, 16, 8)
"""Image sizes in pixels, in the order in which they are tried on a network that does not fix its own."""

LIBRARIES = ("torchvision", "timm")
"""What may stand before a colon for a library's networks."""

SQUASHING, SHAPING = ("Sigmoid", "Softmax"), ("Squeeze", "View", "UnsafeView", "ReshapeAlias", "Select")
"""What autograd calls the operations that make probabilities of logits, and those that only reshape their result."""


def fit(
    spec: str, tensors: Params, image_size: int | None = None, usual: int | None = None
) -> tuple[Architecture, nn.Module]:
    """Build the network that ``spec`` names, load the checkpoint into it and find an image size that it takes.

    Args:
        spec: ``torchvision:NAME``, ``timm:NAME``, or as for :func:`resolve`.
        tensors: Parameters and buffers by name, floating ones of one dtype.
        image_size: Height and width of the images in pixels; tried out if not given, and then marked as assumed.
        usual: The same, tried first.

    Raises:
        UnknownArchitecture: There is no such network, the checkpoint does not fit it, or it takes no image we tried.
    """
    place, _, name = spec.rpartition(":")
    own = place not in LIBRARIES
    module, size, fixed, guessed = (
        (_built(spec, resolve(spec)), None, False, ()) if own else _of_library(place, name, tensors)
    )
    wrong = misfits(tensors, module)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UnknownArchitecture(
            f"The checkpoint does not fit {spec}: {'; '.join(wrong[:3])}{more}.",
            "Name the function that built the network the checkpoint was saved from.",
        )
    like = next((value for value in tensors.values() if value.is_floating_point()), torch.zeros(()))
    if own:
        module.to(like)
    module.load_state_dict(fitted(tensors, module), assign=not own)
    only = image_size or (size if fixed else None)
    sizes = (only,) if only else tuple(filter(None, (usual or size, *SIZES)))
    shape, classes, certain = _probe(spec, module.to(like).eval(), sizes)
    assumed = (*(() if certain else (IMAGE_SIZE,)), *guessed)
    return Architecture("custom", spec, {"spec": spec}, classes, shape, assumed, score=1.0), module


def runs_code(spec: str) -> bool:
    """Return whether a network is built by a file or package of the user's own."""
    return spec != "auto" and spec.rpartition(":")[0] not in LIBRARIES


def resolve(spec: str) -> Callable[[], nn.Module]:
    """Return the function of the user's own that builds a network on the CPU.

    Args:
        spec: ``FILE.py:FUNCTION`` or ``PKG.MOD:FUNCTION``. The file or package is the user's own code and is executed;
            the checkpoint never is.

    Raises:
        UnknownArchitecture: There is no such file, package or function, or importing it failed.
    """
    place, _, function = spec.rpartition(":")
    namespace = _from_file(Path(place)) if place.endswith(".py") else _from_package(place)
    factory: Callable[[], nn.Module] | None = getattr(namespace, function, None)
    if factory is None or not callable(factory):
        own = [name for name, value in vars(namespace).items() if _is_own_function(value, namespace, name)]
        raise UnknownArchitecture(f"{place} has no function {function!r}.", nearest(function, own))
    return factory


LARGEST = 2**22
"""Bytes of a model file that is looked into."""


def function_of(file: str) -> UnknownArchitecture:
    """Return the error that asks for the function in a file, by the names that the file defines; it is not run."""
    try:
        tree = ast.parse(read_regular(Path(file), LARGEST))
    except OSError:
        return UnknownArchitecture(
            f"There is no file {file}.", "Pass --model FILE.py:FUNCTION with a path that exists."
        )
    except (SyntaxError, ValueError):
        tree = ast.Module([], [])
    kinds = ast.FunctionDef | ast.ClassDef
    names = [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    example = f"{file}:{names[0] if names else 'make_model'}"
    more = f" ({Path(file).name} defines {', '.join(names[:5])})" if len(names) > 1 else ""
    return UnknownArchitecture(
        f"--model {file} does not say which function in it builds the network.", f"Write --model {example}{more}."
    )


def _is_own_function(value: object, namespace: ModuleType, name: str) -> bool:
    return callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == namespace.__name__


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UnknownArchitecture(f"There is no file {path}.", "Pass --model FILE.py:FUNCTION with a path that exists.")
    module = ModuleType(f"memaudit_model_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look their module up
    sys.path.append(str(path.parent.resolve()))  # the file may import its neighbours, now or later
    try:
        exec(_code(path), vars(module))  # noqa: S102 - the user's own code
    except (Exception, SystemExit) as error:
        raise UnknownArchitecture(
            f"{path} cannot be imported ({one_line(error)}).", "Try `python FILE.py` to see the whole error."
        ) from error
    return module


def _code(path: Path) -> CodeType:
    """Compile a file as it is now: Python's cache takes two versions of one second and one length for the same."""
    loader = SourceFileLoader(path.stem, str(path))
    return loader.source_to_code(loader.get_data(str(path)), str(path))


def _from_package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UnknownArchitecture(
            f"The module {name!r} cannot be imported ({one_line(error)}).",
            "Install it, or pass the path of its file: --model FILE.py:FUNCTION.",
        ) from error


def _of_library(place: str, name: str, tensors: Params) -> Whole:
    """Return a library's network, with the checkpoint's head and channels.

    Raises:
        UnknownArchitecture: The library has no such network, or is not installed.
    """
    if place == "timm":
        return timm.whole(timm.known(name), tensors)
    return torchvision.whole(torchvision.known(name), tensors)


def _built(spec: str, factory: Callable[[], nn.Module]) -> nn.Module:
    try:
        module = factory()
    except (Exception, SystemExit) as error:
        raise UnknownArchitecture(
            f"{spec} failed: {one_line(error)}.", "The function must work without arguments."
        ) from error
    if not isinstance(module, nn.Module):
        raise UnknownArchitecture(
            f"{spec} returned {type(module).__name__}, not a torch.nn.Module.", "Return the network itself."
        )
    return module


def _probe(spec: str, module: nn.Module, sizes: Sequence[int]) -> tuple[tuple[int, int, int], int, bool]:
    """Return (c, h, w) of an image that the network takes, the number of logits, and whether no other would do."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)), None)
    shapes = [(first.in_channels if isinstance(first, nn.Conv2d) else 3, size, size) for size in sizes]
    certain = len(sizes) == 1
    if isinstance(first, nn.Linear):
        channels, height, width = image_shape(first.in_features)
        shapes = [(channels, sizes[0], sizes[0]) if certain else (channels, height, width)]
        certain = certain or height == width
    reason = ""
    for shape in shapes:
        try:
            with torch.enable_grad():
                logits = module(next(module.parameters()).new_zeros(1, *shape))
        except Exception as error:  # third-party code may fail in any way
            reason = one_line(error)
            continue
        if isinstance(logits, Tensor) and (logits.numel() == 1 or logits.shape[:-1] == (1,)):
            _refuse_probabilities(spec, logits)
            return shape, logits.numel(), certain
        reason = f"it returns {type(logits).__name__} instead of (1, classes) logits"
    tried = " or ".join("x".join(str(side) for side in shape) for shape in shapes)
    raise UnknownArchitecture(
        f"{spec} does not turn an image of {tried} into logits ({reason}).", "Pass the right size with --image-size."
    )


def _refuse_probabilities(spec: str, logits: Tensor) -> None:
    """Raise where the last operation of a network is a sigmoid or a softmax, which belongs to the loss."""
    last = logits.grad_fn
    while last is not None and last.name().startswith(SHAPING):
        last = last.next_functions[0][0]
    if last is not None and last.name().startswith(SQUASHING):
        name = last.name().removesuffix("Backward0").lower()
        raise UnknownArchitecture(
            f"{spec} returns probabilities, as its last operation is a {name}.",
            "Return the logits: memaudit's loss applies the sigmoid or softmax itself.",
        )
