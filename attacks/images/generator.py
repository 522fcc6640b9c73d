"""An untrained generator in place of pixels: its weights are the variables, its input stays as it was drawn.

Convolutions and upsampling make smooth images with edges long before they make noise: a prior that needs no training
(GION; Zhang et al., 2023). One generator makes all images, each from its own input.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, interpolate, leaky_relu

from ..contract.attack import generator
from .normalisation import PLAIN, Normalisation

CODE = 128
"""Numbers in the input of an image."""

SMALLEST = 4
"""Height and width in pixels from which on the generator doubles them."""

WIDTH, PLENTY = 32, 4
"""Channels double from the first of these until there are more than this many weights for each pixel of all images."""

UNIT = 0.01
"""The variables are the weights in such units, so that a step of the size that suits pixels suits them."""

FIXED = ("z", "mean", "std")
"""The inputs (n, 128) and the normalisation of the output (c, h, w): they travel among the variables without ever
getting a gradient, so that no optimiser moves them, and images can be made from variables alone."""


def generator_variables(noise: Tensor, normalisation: Normalisation = PLAIN) -> dict[str, Tensor]:
    """Return the weights, inputs and normalisation of a generator of images (n, c, h, w).

    Args:
        noise: Its shape is that of the images; its first number seeds every draw.
        normalisation: Of the network that takes the images.
    """
    n, c, h, w = noise.shape
    gen = generator(int(abs(float(noise.flatten()[0])) * 2**40) % 2**63)
    width = WIDTH
    while sum(map(math.prod, _weights(width, c, h, w).values())) <= PLENTY * n * h * w:
        width *= 2
    found = {}
    for name, shape in _weights(width, c, h, w).items():
        found[name] = (2 * torch.rand(shape, generator=gen) - 1) / math.sqrt(math.prod(shape[1:]))
        if name != "last":
            found |= {f"{name}.gain": torch.ones(width), f"{name}.shift": torch.zeros(width)}
    found["last.shift"] = torch.zeros(c)
    found = {name: value / UNIT for name, value in found.items()} | {"z": torch.randn(n, CODE, generator=gen)}
    found["mean"] = normalisation.to_pixels(torch.zeros(c, h, w))
    found["std"] = normalisation.to_pixels(torch.ones(c, h, w)) - found["mean"]
    return {f"generator.{name}": value.to(noise) for name, value in found.items()}


def generate(variables: Mapping[str, Tensor]) -> Tensor:
    """Return normalised images (n, c, h, w) in the range of pixels, differentiable in the weights."""
    found = {name.removeprefix("generator."): value for name, value in variables.items()}
    # Zero times them: they belong to the graph and get the gradient zero.
    z, mean, std = (found[name].detach() + 0 * found[name] for name in FIXED)
    own = {name: value * UNIT for name, value in found.items() if name not in FIXED}
    sizes = _sizes(*mean.shape[1:])
    x = _layer((z @ own["first"].flatten(1).T).view(len(z), -1, *sizes[0]), own, "first")
    for step, size in enumerate(sizes[1:]):
        x = interpolate(x, size=size, mode="nearest")
        for name in _pair(step):
            x = _layer(conv2d(x, own[name], padding=1), own, name)
    pixels = (conv2d(x, own["last"], own["last.shift"]).tanh() + 1) / 2
    return (pixels - mean) / std


def _layer(x: Tensor, own: Mapping[str, Tensor], name: str) -> Tensor:
    """Normalise with the batch's own statistics, then apply the activation."""
    return leaky_relu(batch_norm(x, None, None, own[f"{name}.gain"], own[f"{name}.shift"], training=True), 0.1)


def _weights(width: int, c: int, h: int, w: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight, the inputs' dimension second."""
    sizes = _sizes(h, w)
    shapes: dict[str, tuple[int, ...]] = {"first": (width * math.prod(sizes[0]), CODE)}
    for step in range(len(sizes) - 1):
        shapes |= dict.fromkeys(_pair(step), (width, width, 3, 3))
    return {**shapes, "last": (c, width, 1, 1)}


def _pair(step: int) -> tuple[str, str]:
    return f"conv{2 * step}", f"conv{2 * step + 1}"


def _sizes(h: int, w: int) -> list[tuple[int, int]]:
    """Return height and width of every scale, coarse to fine."""
    sizes = [(h, w)]
    while min(-(-value // 2) for value in sizes[0]) >= SMALLEST:
        sizes.insert(0, (-(-sizes[0][0] // 2), -(-sizes[0][1] // 2)))
    return sizes
