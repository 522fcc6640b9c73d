"""A data set of torchvision that lies on disk already; nothing is ever downloaded."""

import difflib
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ..plugins import one_line
from .base import DataError, RawSet, Sample

_SCHEME = "torchvision:"
_REFUSED = {
    "VisionDataset",
    "LSUN",
    "LSUNClass",
}  # An abstract class; two that unpickle a cache file without a checksum.


class TorchvisionSource:
    """``torchvision:NAME:ROOT`` or ``torchvision:NAME:ROOT:SPLIT``, e.g. ``torchvision:CIFAR10:/data:test``.

    NAME is a class of ``torchvision.datasets`` whose items are (PIL image, target); targets that are not integers
    count as unknown labels. Without SPLIT the class chooses, usually the training split. Only what the class can read
    without downloading is read. ``torchvision:FakeData`` needs no ROOT.
    """

    form: ClassVar[str] = "torchvision:NAME:ROOT[:SPLIT], e.g. torchvision:CIFAR10:/data:test"

    def accepts(self, spec: str) -> bool:
        """Return whether ``spec`` begins with ``torchvision:``."""
        return spec.startswith(_SCHEME)

    def open(self, spec: str) -> RawSet:
        """Open the data set; its images are decoded on the way.

        Raises:
            DataError: torchvision cannot be imported, has no such data set or split, or ROOT does not hold it.
        """
        name, _, place = spec.removeprefix(_SCHEME).partition(":")
        root, _, split = place.partition(":")
        kind = _find(_import_datasets(), name)
        dataset = _construct(kind, root, _options(kind, root, split))
        classes = getattr(dataset, "classes", ())
        known = isinstance(classes, list | tuple) and all(isinstance(entry, str) for entry in classes)
        return RawSet(len(dataset), _samples(name, dataset), tuple(classes) if known else ())


def _import_datasets() -> ModuleType:
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError, OSError) as error:
        raise DataError(
            f"torchvision cannot be imported: {one_line(error)}.",
            "Install torch and torchvision builds of the same release and from the same index.",
        ) from error
    module: ModuleType = datasets
    return module


def _find(datasets: ModuleType, name: str) -> type[Any]:
    kinds = {
        kind.__name__: kind
        for kind in vars(datasets).values()
        if isinstance(kind, type) and issubclass(kind, datasets.VisionDataset) and kind.__name__ not in _REFUSED
    }
    if name in kinds:
        return kinds[name]
    lower = {known.lower(): known for known in kinds}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3)]
    hint = f"Did you mean {', '.join(near)}?" if near else f"There are {', '.join(sorted(kinds))}."
    raise DataError(f"torchvision has no image data set {name!r}.", hint)


def _options(kind: type[Any], root: str, split: str) -> dict[str, Any]:
    """The arguments of a data set's constructor; the signatures differ."""
    known = inspect.signature(kind).parameters
    if bool(root) != ("root" in known):
        raise DataError(f"torchvision:{kind.__name__} {'takes no' if root else 'needs a'} root folder.")
    options: dict[str, Any] = {"root": root} if root else {}
    if "download" in known:
        options["download"] = False
    if not split:
        return options
    if "split" in known:
        return {**options, "split": split}
    if "train" not in known:
        raise DataError(f"torchvision:{kind.__name__} has no splits, not {split!r} either.")
    if split not in ("train", "test"):
        raise DataError(f"torchvision:{kind.__name__} has no split {split!r}.", "Its splits are train and test.")
    return {**options, "train": split == "train"}


def _construct(kind: type[Any], root: str, options: dict[str, Any]) -> Any:
    try:
        return kind(**options)
    except Exception as error:  # Each data set has its own errors.
        hint = ""
        if "download" in options and isinstance(error, RuntimeError | OSError):
            call = f"torchvision.datasets.{kind.__name__}({root!r}, download=True)"
            hint = f"memaudit downloads nothing; fetch it once with {call}."
        message = f"torchvision:{kind.__name__} cannot be opened at {root!r}: {one_line(error)}."
        raise DataError(message, hint) from error


def _samples(name: str, dataset: Any) -> Iterator[Sample]:
    for index in range(len(dataset)):
        place = f"{name}[{index}]"
        try:
            image, target = dataset[index]
        except Exception as error:  # A damaged file, or items that are not pairs.
            raise DataError(f"{place} of torchvision cannot be read: {one_line(error)}.") from error
        if not isinstance(image, Image.Image):
            raise DataError(f"{place} of torchvision is a {type(image).__name__}, not an image.")
        grey = image.mode in ("1", "L", "LA")
        pixels = np.asarray(image.convert("L" if grey else "RGB"))
        yield Sample(pixels, place, int(target) if isinstance(target, int | np.integer) else -1)
