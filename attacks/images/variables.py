"""What is optimised in place of raw pixels: a change of variables that suits natural images.

Adam moves every variable by about the same length, so the variables decide which directions are easy. With raw pixels
those are speckles in saturated colours. Two linear maps make what images are made of easy instead (preconditioning as
in feature visualisation; Olah et al., 2017): a sum over scales, and colours along the opponent axes with the spread
that natural images have (Ohta et al., 1980).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..contract.medium import Parametrisation
from .colours import axes
from .generator import generate, generator_variables
from .normalisation import PLAIN, Normalisation

SMALLEST = 4
"""Height and width in pixels below which no coarser scale is added."""

SPREAD = (1.0, 0.3, 0.15)
"""Standard deviation of natural images along luminance, red-blue and green-magenta, relative to the first."""


def pixel_variables(noise: Tensor, _: Normalisation = PLAIN) -> dict[str, Tensor]:
    """Return images (n, c, h, w) as their own and only variable."""
    return {"x": noise}


def pyramid_variables(noise: Tensor, _: Normalisation = PLAIN) -> dict[str, Tensor]:
    """Return one variable per scale for images (n, c, h, w): the finest is ``noise``, the others are zero."""
    n, c, h, w = noise.shape
    variables = {"scale1": noise}
    factor = 2
    while min(-(-h // factor), -(-w // factor)) >= SMALLEST:
        variables[f"scale{factor}"] = noise.new_zeros(n, c, -(-h // factor), -(-w // factor))
        factor *= 2
    return variables


def compose(variables: Mapping[str, Tensor]) -> Tensor:
    """Return the images (n, c, h, w) that variables of any kind stand for; differentiable, linear but for a generator.

    Variables of other names are left alone.
    """
    if "x" in variables:
        return variables["x"]
    if "generator.z" in variables:
        return generate(variables)
    finest = variables["scale1"]
    total = finest
    for factor in sorted(int(name.removeprefix("scale")) for name in variables if name.startswith("scale")):
        if factor > 1:  # in this order whatever the mapping's, which a saved state changes: sums are not associative
            total = total + interpolate(variables[f"scale{factor}"], size=finest.shape[-2:], mode="nearest")
    if total.shape[1] != 3:
        return total
    # Contiguous, so that a saved and loaded image is laid out, and hence summed, as a live one.
    return torch.einsum("ij,njhw->nihw", _colours(total), total).contiguous()


def lookalikes(variables: Mapping[str, Tensor], stride: int) -> list[dict[str, Tensor]]:
    """Return the variables of all images mirrored, and moved by ``stride`` pixels down, up, right and left.

    What moves in repeats the edge. Scales that the stride is no multiple of rule the moves out; a generator has none.
    """
    maps = {name: value for name, value in variables.items() if name == "x" or name.startswith("scale")}
    if not maps:
        return []
    found = [{name: value.flip(-1) for name, value in maps.items()}]
    factors = {name: int(name.removeprefix("scale") if name != "x" else 1) for name in maps}
    if any(stride % factor for factor in factors.values()):
        return found
    for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        steps = {name: stride // factor for name, factor in factors.items()}
        found.append({name: _moved(value, down * steps[name], right * steps[name]) for name, value in maps.items()})
    return found


def _moved(x: Tensor, down: int, right: int) -> Tensor:
    """Return maps (n, c, h, w) moved by whole places, their edges repeated."""
    height, width = x.shape[-2:]
    rows = (torch.arange(height, device=x.device) - down).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) - right).clamp(0, width - 1)
    return x[..., rows[:, None], columns]


def _colours(like: Tensor) -> Tensor:
    """Return the (3, 3) map from opponent coordinates to RGB."""
    return axes(like).T * like.new_tensor(SPREAD)


PARAMETRISATIONS: dict[Parametrisation, Callable[[Tensor, Normalisation], dict[str, Tensor]]] = {
    "auto": pyramid_variables,
    "pyramid": pyramid_variables,
    "pixels": pixel_variables,
    "generator": generator_variables,
}
"""How the first variables are made from noise and the normalisation, by the name of an attack's ``parametrisation``."""
