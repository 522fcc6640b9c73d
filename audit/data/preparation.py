"""From a picture as its file has it to the pixels that a network sees: orientation, fit and colour. Arrays only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..report.terms import Exif

Fit = Literal["squash", "center-crop", "resize-crop", "pad", "none"]

Shape = tuple[int, int, int]
Array = NDArray[Any]
Pixels = NDArray[np.float32]

UPRIGHT = 1
"""The EXIF orientation that changes nothing."""

EVEN = 0.02
"""Relative difference of two aspect ratios up to which a picture is not called stretched: rounding of sizes."""

_MARGIN = 256 / 224
"""How much larger than its crop a picture is made in the usual evaluation of ImageNet: Resize(256), CenterCrop(224)."""

FITS: dict[Fit, str] = {
    "squash": "stretched",
    "center-crop": "centre crop",
    "resize-crop": "resized by 256/224, then centre crop",
    "pad": "padded with black",
    "none": "as it is",
}
"""Ways to bring a picture to the network's height and width, in words."""

EXIF: dict[Exif, str] = {"ignore": "orientation tag ignored", "apply": "orientation tag applied"}


@dataclass(frozen=True)
class Preparation:
    """How pictures of any size become pictures of the network's.

    Attributes:
        exif: Whether the orientation tag of a photo turns it. Training that reads through Pillow or torchvision
            ignores it.
        preprocess: ``squash`` stretches with an antialiased bicubic filter; ``center-crop`` is torchvision's Resize of
            the shorter side and CenterCrop; ``pad`` keeps the aspect and fills with black; ``none`` changes no size.
            ``resize-crop``, which only readings are tried with, makes the picture 256/224 times larger before it is
            cropped.
    """

    exif: Exif = "ignore"
    preprocess: Fit = "squash"

    def others(self) -> "tuple[Preparation, ...]":
        """Return the other usual ways: first those that differ in one respect."""
        fits: tuple[Fit, ...] = ("center-crop", "resize-crop", "squash", "pad")
        fits = () if self.preprocess == "none" else tuple(fit for fit in fits if fit != self.preprocess)
        turned: Exif = "apply" if self.exif == "ignore" else "ignore"
        ways = [(turned, self.preprocess), *((self.exif, fit) for fit in fits), *((turned, fit) for fit in fits)]
        return tuple(Preparation(*way) for way in ways)

    def beside(self, base: "Preparation") -> str:
        """Return in words how this differs from ``base``."""
        parts = [EXIF[self.exif]] * (self.exif != base.exif) + [FITS[self.preprocess]] * (
            self.preprocess != base.preprocess
        )
        return ", ".join(parts)

    def differs(self, base: "Preparation", size: tuple[int, int], orientation: int, wanted: tuple[int, int]) -> bool:
        """Return whether a picture comes out otherwise than from ``base``; another filter alone does not count.

        Args:
            base: The other preparation.
            size: Height and width as stored.
            orientation: EXIF orientation, 1 to 8.
            wanted: Height and width of the network's input.
        """
        if self.exif != base.exif and orientation != UPRIGHT:
            return True
        seen = turned_size(size, orientation) if self.exif == "apply" else size
        return self.preprocess != base.preprocess and self._whole(seen, wanted) != base._whole(seen, wanted)

    def _whole(self, size: tuple[int, int], wanted: tuple[int, int]) -> str:
        """Return the fit, or that a picture of this size is only scaled by it."""
        even = size == wanted or (self.preprocess != "resize-crop" and not uneven(size, wanted))
        return "scaled" if even else self.preprocess

    def prepare(self, image: Array, orientation: int, wanted: tuple[int, int]) -> Pixels:
        """Return (c, h, w) pixels in [0, 1].

        Args:
            image: (h, w) or (h, w, c) as stored, uint8 or float32 in [0, 1].
            orientation: EXIF orientation, 1 to 8.
            wanted: Height and width that come out, unless sizes are left alone.
        """
        if self.exif == "apply":
            image = oriented(image, orientation)
        fits = image.shape[:2] == wanted or self.preprocess == "none"
        return (planes(image) if fits else _FIT[self.preprocess](image, wanted)).clip(0, 1)


def uneven(size: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Return whether a picture must be stretched, cut or padded to fit, and not only scaled."""
    return abs(size[0] * wanted[1] / (size[1] * wanted[0]) - 1) > EVEN


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the height and width of a picture once its orientation is applied."""
    return (size[1], size[0]) if orientation in range(5, 9) else size


def oriented(image: Array, orientation: int) -> Array:
    """Return an image (h, w, ...) turned and mirrored as its EXIF orientation says; unknown numbers change nothing."""
    return _TURNS[orientation](image) if orientation in _TURNS else image


_TURNS: dict[int, Callable[[Array], Array]] = {
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""What each EXIF orientation asks for; 6 and 8 are photos taken upright with a phone."""


def planes(image: Array) -> Pixels:
    """Return an image (h, w) or (h, w, c) as (c, h, w) pixels in [0, 1]."""
    found = np.moveaxis(np.atleast_3d(image), 2, 0).astype(np.float32)
    return found / np.float32(255) if image.dtype == np.uint8 else found


def _squash(image: Array, wanted: tuple[int, int]) -> Pixels:
    size = (wanted[1], wanted[0])
    resized = [Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC) for plane in planes(image)]
    return np.stack([np.asarray(plane) for plane in resized])


def _crop(image: Array, wanted: tuple[int, int], margin: float = 1.0) -> Pixels:
    """Scale so that the picture covers ``wanted``, times ``margin``, and cut its centre out, as torchvision does."""
    (height, width), goal = image.shape[:2], [round(side * margin) for side in wanted]
    if goal[0] * width >= goal[1] * height:
        size = goal[0], max(int(goal[0] * width / height), goal[1])
    else:
        size = max(int(goal[1] * height / width), goal[0]), goal[1]
    top, left = (round((side - cut) / 2) for side, cut in zip(size, wanted, strict=True))
    return _scaled(image, size)[:, top : top + wanted[0], left : left + wanted[1]]


def _resize_crop(image: Array, wanted: tuple[int, int]) -> Pixels:
    return _crop(image, wanted, _MARGIN)


def _pad(image: Array, wanted: tuple[int, int]) -> Pixels:
    """Scale so that the picture fits into ``wanted``, and put it into the middle of black."""
    scale = min(side / own for side, own in zip(wanted, image.shape[:2], strict=True))
    height, width = (min(max(round(own * scale), 1), side) for side, own in zip(wanted, image.shape[:2], strict=True))
    inside = _scaled(image, (height, width))
    found = np.zeros((len(inside), *wanted), np.float32)
    top, left = (wanted[0] - height) // 2, (wanted[1] - width) // 2
    found[:, top : top + height, left : left + width] = inside
    return found


def _scaled(image: Array, size: tuple[int, int]) -> Pixels:
    """Resize with the antialiased bilinear filter; whole bytes stay whole, as where Pillow's images are resized."""
    if image.shape[:2] == size:
        return planes(image)
    target, way = (size[1], size[0]), Image.Resampling.BILINEAR
    if image.dtype == np.uint8 and (image.ndim == 2 or image.shape[2] == 3):
        return planes(np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(target, way)))
    return np.stack([np.asarray(Image.fromarray(plane).resize(target, way)) for plane in planes(image)])


_FIT: dict[Fit, Callable[[Array, tuple[int, int]], Pixels]] = {
    "squash": _squash,
    "center-crop": _crop,
    "resize-crop": _resize_crop,
    "pad": _pad,
}
